"""A notation for price cases that a pricing analyst can read, and the check that every engine agrees.

A table is text. `# words` names a case; below it are its rows, and `? question -> answer` is what is asked.
Rows are whole words, then `column=value`; what is not said is blank, and `SETTING` is always there:

    layer contract 1 [lowest merge]              group metal [parent=drills]     item C drills [source=erp]
    class site trade [priority=1]                one of several classes of a customer
    customer site EUR [parent= class= branch=]   unit A BOX 12  (or 1/3)         cost A 5 EUR [branch= from=]
    rate EUR USD 1.25 [from=]                    allow site A  (forbid; class:gold; drills; *)
    book B [layer= currency= below= round=0.05/half_even floor=20 ending=0.99 windows=replace from= to=]
           [breaks=graduated] [on=amount] for WHO [priority= inherit= from= to=]
           (on one line; without `for` it is only a basis)
    agree B for WHO [...]                        WHO is a customer, class:gold or everyone
    price B A 10 [per= min= uom= class= branch= from= to= id= zero]    A: item, lower case: product group, *: every item
    price B A multiplier=0.9 of=list             also discount, markup, margin, off
    price B A plus_pct=2                         or plus=5: surcharges of a layer of mode `add`
    zone Europe/London                           policy [over=EUR:100] [grace_days=30] [flagged=site,A]

    ? site 12 BOX A [at INSTANT] [in USD] [from BRANCH] [storefront]
        -> 10 by B [per=] [entry=] [total=] [layer=] [until=] [lifted] [converted] [EXCEPTION]    (on one line)
    ? site 12 A -> BELOW_MINIMUM 20

An answer without `lifted`, `converted` or the name of an exception says there is none.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import numpy as np

from pricegrid.columnar.decimals import decimal_text
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk, PriceEngine
from pricegrid.pricing_engine.model import (
    MICROS,
    ExceptionPolicy,
    ExceptionReason,
    LineStatus,
    PriceData,
    PriceQuestion,
)
from pricegrid.pricing_engine.rules.explain import end_text, explanation, reproduce
from pricegrid.pricing_engine.rules.reference import resolve
from tests.datasets import Rows, as_frames
from tests.plain_prices import plain_data
from tests.written import accepted

SETTING = """
group tools
group drills parent=tools
group metal parent=drills
item A metal
unit A BOX 12
unit A THIRD 1/3
customer group EUR
customer company EUR parent=group
customer site EUR parent=company class=gold branch=north
customer lone EUR
"""
NOON = "2024-06-15T12:00:00Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS = {
    "items": "sku base_uom product_group price_source break_group",
    "product_groups": "product_group parent break_group",
    "uoms": "sku uom numerator denominator",
    "customers": "customer_id currency parent_id price_class branch",
    "customer_classes": "customer_id price_class priority",
    "layers": "layer rank mode ladder",
    "price_books": "book_id layer currency valid_from valid_to below_minimum rounding_increment "
    "rounding_mode floor_margin_pct windows price_ending break_mode break_on break_group",
    "agreements": "book_id customer_id price_class everyone priority valid_from valid_to inherit",
    "price_entries": "book_id sku product_group price_class branch uom min_quantity method value price_per basis "
    "valid_from valid_to explicit_zero entry_id",
    "costs": "sku cost currency branch valid_from",
    "exchange_rates": "from_currency to_currency rate valid_from",
    "entitlements": "customer_id price_class sku product_group allowed",
}
_NAMES = {
    "from": "valid_from",
    "to": "valid_to",
    "min": "min_quantity",
    "class": "price_class",
    "id": "entry_id",
    "of": "basis",
    "per": "price_per",
    "below": "below_minimum",
    "floor": "floor_margin_pct",
    "ending": "price_ending",
    "breaks": "break_mode",
    "on": "break_on",
    "mix": "break_group",
    "parent": "parent_id",
    "source": "price_source",
}
_METHODS = {
    "discount": "discount_pct",
    "markup": "markup_pct",
    "margin": "margin_pct",
    "multiplier": "multiplier",
    "off": "amount_off",
    "plus_pct": "surcharge_pct",
    "plus": "surcharge_amount",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one small dataset."""

    name: str
    rows: str
    question: str
    expected: str

    def __str__(self) -> str:
        return f"{self.name}: {self.question}"


@dataclass(frozen=True, slots=True)
class World:
    """A dataset in every form that answers."""

    engine: PriceEngine
    data: PriceData
    policy: ExceptionPolicy


def cases(table: str) -> list[Case]:
    """The cases of a table, one for each question."""
    found: list[Case] = []
    for section in table.split("\n# ")[1:]:
        name, *lines = [line.strip() for line in section.splitlines() if line.strip()]
        rows = "\n".join(line for line in lines if not line.startswith("?"))
        asked = [line[1:].split("->") for line in lines if line.startswith("?")]
        assert asked, f"{name}: nothing is asked"
        found += [Case(name, rows, question.strip(), expected.strip()) for question, expected in asked]
    return found


# -- rows ------------------------------------------------------------------------------------------------


def _who(word: str) -> dict[str, str]:
    if word == "everyone":
        return {"everyone": "true"}
    return {"price_class": word[6:]} if word.startswith("class:") else {"customer_id": word}


def _target(word: str) -> dict[str, str]:
    if word == "*":
        return {}
    return {"product_group" if word.islower() else "sku": word}


def _options(words: list[str]) -> dict[str, str]:
    pairs = dict(word.split("=", 1) for word in words)
    return {_NAMES.get(name, name): value for name, value in pairs.items()}


def _book(words: list[str]) -> dict[str, str]:
    row = {"book_id": words[0], "layer": "prices", "currency": "EUR", **_options(words[1:])}
    if "round" in row:
        row["rounding_increment"], _, row["rounding_mode"] = row.pop("round").partition("/")
    return row


def _price(words: list[str]) -> dict[str, str]:
    row = {"book_id": words[0], **_target(words[1])}
    values = words[2:]
    if "zero" in values:
        values.remove("zero")
        row["explicit_zero"] = "true"
    if "=" not in values[0]:
        row |= {"method": "net", "value": values.pop(0)}
    row |= _options(values)
    for short, method in _METHODS.items():
        if short in row:
            row |= {"value": row.pop(short), "method": method}
    return row


def _add(rows: Rows, words: list[str]) -> None:
    kind, *rest = words
    audience: list[str] = []
    if kind in ("book", "agree") and "for" in rest:
        at = rest.index("for")
        rest, audience = rest[:at], rest[at + 1 :]
    plain = [word for word in rest if "=" not in word]
    options = {} if kind in ("book", "price") else _options(rest[len(plain) :])
    table, row = {
        "layer": lambda: ("layers", dict(zip(("layer", "rank", "mode", "ladder"), plain, strict=False))),
        "group": lambda: (
            "product_groups",
            {"product_group": plain[0], "parent": options.get("parent_id", "")},
        ),
        "item": lambda: ("items", {"sku": plain[0], "base_uom": "EA", "product_group": "".join(plain[1:])}),
        "customer": lambda: ("customers", {"customer_id": plain[0], "currency": plain[1]}),
        "unit": lambda: (
            "uoms",
            dict(
                zip(
                    ("sku", "uom", "numerator", "denominator"),
                    [*plain[:2], *plain[2].split("/")],
                    strict=False,
                )
            ),
        ),
        "cost": lambda: ("costs", dict(zip(("sku", "cost", "currency"), plain, strict=True))),
        "class": lambda: ("customer_classes", {"customer_id": plain[0], "price_class": plain[1]}),
        "rate": lambda: (
            "exchange_rates",
            {
                "from_currency": plain[0],
                "to_currency": plain[1],
                "rate": plain[2],
                "valid_from": "2000-01-01",
            },
        ),
        "allow": lambda: ("entitlements", {**_who(plain[0]), **_target(plain[1]), "allowed": "true"}),
        "forbid": lambda: ("entitlements", {**_who(plain[0]), **_target(plain[1]), "allowed": "false"}),
        "book": lambda: ("price_books", _book(rest)),
        "agree": lambda: ("agreements", {}),
        "price": lambda: ("price_entries", _price(list(rest))),
    }[kind]()
    if kind == "group":
        options = {}
    if kind != "agree":
        known = COLUMNS[table].split()
        given = {**row, **options}
        assert not set(given) - set(known), f"{' '.join(words)}: {set(given) - set(known)}"
        rows[table].append({column: given.get(column, "") for column in known})
    if audience:
        given = {"book_id": rest[0], **_who(audience[0]), **_options(audience[1:])}
        rows["agreements"].append({column: given.get(column, "") for column in COLUMNS["agreements"].split()})


def policy_of(words: list[str]) -> ExceptionPolicy:
    """When a price is an exception, in the words of a table."""
    given = dict(word.split("=") for word in words)
    over = [each.split(":") for each in given.get("over", "").split(",") if each]
    flagged = frozenset(given.get("flagged", "").split(","))
    return ExceptionPolicy(
        {currency: int(amount) * MICROS for currency, amount in over},
        int(given.get("grace_days", "0")) * 86_400 * MICROS,
        flagged,
        flagged,
    )


@cache
def world(text: str) -> World:
    """The dataset of a case; every one of its rows must be valid."""
    rows: Rows = {table: [] for table in COLUMNS}
    zone, policy = "UTC", ExceptionPolicy()
    for line in (SETTING + text).splitlines():
        words = line.split()
        if words[:1] == ["zone"]:
            zone = words[1]
        elif words[:1] == ["policy"]:
            policy = policy_of(words[1:])
        elif words:
            _add(rows, words)
    if not rows["layers"]:
        _add(rows, ["layer", "prices", "1"])
    if not rows["agreements"]:  # an agreement of nobody's keeps "no such table" from meaning "everyone"
        _add(rows, ["customer", "nobody", "EUR"])
        _add(rows, ["agree", rows["price_books"][0]["book_id"], "for", "nobody"])
    rows["layers"] = [{**row, "mode": row["mode"] or "first"} for row in rows["layers"]]
    loaded = accepted(as_frames(rows), zone)
    return World(PriceEngine(compile_prices(loaded.frames), policy), plain_data(rows, zone), policy)


# -- questions and answers -------------------------------------------------------------------------------


def micros(text: str) -> int:
    """A decimal of at most six places, exactly."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, places = digits.partition(".")
    assert len(places) <= 6, text
    return sign * (int(whole) * MICROS + int(places.ljust(6, "0")))


def instant_us(text: str) -> int:
    """An RFC 3339 instant; a date is its midnight in UTC."""
    moment = datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00Z")
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * MICROS + span.microseconds


def _question(text: str) -> tuple[PriceQuestion, bool]:
    words = text.split()
    service_desk = "storefront" not in words
    words = [word for word in words if word != "storefront"]
    options = {}
    while len(words) > 2 and words[-2] in ("at", "in", "from"):
        options[words[-2]] = words[-1]
        words = words[:-2]
    who, quantity, *uom, sku = words
    return PriceQuestion(
        "" if who == "everyone" else who,
        sku,
        micros(quantity),
        instant_us(options.get("at", NOON)),
        "".join(uom),
        options.get("in", ""),
        options.get("from", ""),
    ), service_desk


def ask_of(question: PriceQuestion, *, service_desk: bool = True) -> PriceAsk:
    """The question as a request of one line."""
    return PriceAsk(
        question.customer_id,
        question.currency,
        question.branch,
        question.as_of_us,
        [question.sku.encode()],
        np.array([question.quantity_micros], dtype=np.int64),
        [question.uom.encode()],
        service_desk=service_desk,
    )


def compiled_answer(engine: PriceEngine, ask: PriceAsk) -> dict[str, object]:
    """What the compiled engine says to a request of one line."""
    return compiled_line(engine, engine.price(ask), 0)


def compiled_line(engine: PriceEngine, answers: PriceAnswers, line: int) -> dict[str, object]:
    """What the compiled engine says to a line, in the words of an explanation's answer."""
    book, layer, entry = int(answers.book[line]), int(answers.layer[line]), int(answers.entry[line])
    minimum = int(answers.minimum_quantity_micros[line])
    priced = book >= 0
    return {
        "status": LineStatus(answers.status[line]).name,
        "exception": ExceptionReason(answers.exception[line]).name,
        "currency": answers.currency,
        "unit_price": decimal_text(int(answers.unit_price_micros[line])) if priced else None,
        "price_per": int(answers.price_per[line]) if priced else None,
        "extended_price": decimal_text(int(answers.extended_price_micros[line])) if priced else None,
        "book_id": engine.book_id(book) if priced else None,
        "entry_id": (engine.entry_id(entry) or None) if entry >= 0 else None,
        "layer": engine.layer_name(layer) if layer >= 0 else None,
        "minimum_quantity": decimal_text(minimum) if minimum else None,
        "valid_until": end_text(int(answers.valid_until_us[line])),
        "floor_lifted": bool(answers.floor_lifted[line]),
        "converted": bool(answers.converted[line]),
    }


def _expected(text: str, currency: str) -> dict[str, object]:
    words = text.split()
    flags = {word for word in words if word in ("lifted", "converted")}
    exceptions = [word for word in words[1:] if word in ExceptionReason.__members__]
    options = dict(word.split("=", 1) for word in words if "=" in word)
    priced = words[0] not in LineStatus.__members__
    expected: dict[str, object] = {
        "status": "OK" if priced else words[0],
        "exception": exceptions[0] if exceptions else "NO_PRICE" if words[0] == "NO_PRICE" else "NONE",
        "currency": currency,
        "unit_price": words[0] if priced else None,
        "price_per": int(options.get("per", "1")) if priced else None,
        "book_id": words[words.index("by") + 1] if priced else None,
        "floor_lifted": "lifted" in flags,
        "converted": "converted" in flags,
        "minimum_quantity": words[1] if len(words) > 1 and words[1][0].isdigit() else None,
    }
    for option, field in (("entry", "entry_id"), ("total", "extended_price"), ("layer", "layer")):
        if option in options:
            expected[field] = options[option]
    if "until" in options:
        until = options["until"]
        expected["valid_until"] = None if until == "never" else end_text(instant_us(until))
    return expected


def check(case: Case) -> None:
    """The compiled engine, the explanation and the plain rules agree with the table, and so do the steps."""
    at = world(case.rows)
    question, service_desk = _question(case.question)
    ask = ask_of(question, service_desk=service_desk)
    compiled = compiled_answer(at.engine, ask)
    explained = at.engine.explain(ask, 0)
    plain = explanation(question, resolve(at.data, question, at.policy))["answer"]
    assert isinstance(plain, dict)
    if not service_desk and plain["status"] == "NOT_ENTITLED":
        plain["status"] = "UNKNOWN_ITEM"
    owner = at.data.customers.get(question.customer_id)
    expected = _expected(case.expected, question.currency or (owner.currency if owner else ""))
    assert {field: compiled[field] for field in expected} == expected
    assert explained["answer"] == compiled
    assert plain == compiled
    if compiled["unit_price"] is not None:
        unit, extended = reproduce(explained)
        assert decimal_text(unit) == compiled["unit_price"]
        assert decimal_text(extended) == compiled["extended_price"]
