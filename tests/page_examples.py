"""Worked examples of the rule pages: read out of `docs/*.md`, loaded as a dataset, asked of every form that answers.

A fenced block of the kind `example` holds indented tables, cells apart by commas. A table named as one of the dataset's
is rows to load; the block of the kind `example shop` holds those that all examples of a page share. The others ask:
columns before `->` say what is asked, those behind it what must be answered, blank for "none".

    price:          as `pricegrid quote`: customer_id, sku, quantity, uom, currency, branch, as_of, caller
    basket:         the same rows as the lines of one request, each with its own line_as_of or none
    named:          what part numbers name (`page_names`)
    candidates:     the books that an explanation names; steps: its arithmetic
    availability:   sku, quantity, uom, branch, as_of, and min_confidence, exclude ...
    projected:      the same and a date
    promise WORDS:  one request, a row a line; WORDS are its policy (`no_split`, `branches=HAM+MUC`)
    story:          what happens, one thing a line, `HH:MM verb name=value ... -> answer`
    rejects:        what the load refuses: table, reason

Lines `zone = ZONE` and `policy = WORDS` set what the command line sets. The compiled engine must give the answer of the
page, and the plain reference the same; stories are told to live state and to the independent model of `tests`.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pricegrid.loaders.tables import TABLES
from tests.written import check_declared

Row = dict[str, str]
FENCE = re.compile(r"^```example(?P<shop> shop)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^### (?P<rule>[PA]\d+) .+$", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """One row of a table that asks: what is asked, and what must be answered."""

    asked: Row
    expected: Row


@dataclass
class Example:
    """A worked example: rows to load and what is asked of them."""

    rule: str
    number: int
    tables: dict[str, list[Row]] = field(default_factory=dict)
    questions: list[tuple[str, list[Asked]]] = field(default_factory=list)
    """(kind with its words, rows), in the order of the page."""
    settings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule}-{self.number}"

    @property
    def zone(self) -> str:
        """What `load --time-zone` gets."""
        return self.settings.get("zone", "UTC")


@dataclass(frozen=True)
class Rule:
    """The section of a rule."""

    name: str
    text: str

    @property
    def is_planned(self) -> bool:
        """Whether the page says that the rule is agreed and not built."""
        return "**Not built yet.**" in self.text


def rules_of(page: str) -> list[Rule]:
    """The sections of a page's rules."""
    found = list(HEADING.finditer(page))
    ends = [
        min((at for at in (page.find("\n## ", each.end()), following) if at >= 0), default=len(page))
        for each, following in zip(found, [*(each.start() for each in found[1:]), len(page)], strict=True)
    ]
    return [Rule(each["rule"], page[each.end() : end]) for each, end in zip(found, ends, strict=True)]


def examples_of(page: str) -> list[Example]:
    """Every worked example of a page, the page's shop in it."""
    shop = Example("", 0)
    for block in FENCE.finditer(page):
        if block["shop"]:
            _read(block["text"], shop)
    found = []
    for rule in rules_of(page):
        for number, block in enumerate(FENCE.finditer(rule.text), 1):
            example = Example(rule.name, number, {name: list(rows) for name, rows in shop.tables.items()})
            _read(block["text"], example)
            assert example.questions, f"{example}: nothing is asked"
            found.append(example)
    return found


def _read(text: str, example: Example) -> None:
    kind, lines = "", []
    for line in [*text.splitlines(), ":"]:
        if line.startswith(" "):
            lines.append(line.strip())
        elif " = " in line:
            name, _, value = line.partition(" = ")
            example.settings[name] = value
        elif line:
            _note(kind, lines, example)
            assert line.endswith(":"), f"neither a row nor the name of a table: {line}"
            kind, lines = line.removesuffix(":"), []


def _note(kind: str, lines: list[str], example: Example) -> None:
    if not kind:
        return
    if kind == "story":
        told = [_halves(line) for line in lines]
        example.questions.append((kind, [Asked({"told": what}, {"answer": answer}) for what, answer in told]))
    elif kind in TABLES:
        header, *rows = [_cells(line) for line in lines]
        example.tables.setdefault(kind, []).extend(_row(header, row) for row in rows)
    else:
        asks, answers = map(_cells, _halves(lines[0]))
        rows = [tuple(map(_cells, _halves(line))) for line in lines[1:]]
        found = [Asked(_row(asks, asked), _row(answers, answered)) for asked, answered in rows]
        example.questions.append((kind, found))


def _halves(line: str) -> tuple[str, str]:
    what, _, answer = line.partition("->")
    return what.strip(), answer.strip()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")]


def _row(header: list[str], cells: list[str]) -> Row:
    assert len(header) == len(cells), f"{', '.join(cells)}: the columns are {', '.join(header)}"
    return dict(zip(header, cells, strict=True))


def write_dataset(folder: Path, tables: Mapping[str, list[Row]]) -> None:
    """The rows as the files that a user hands to `pricegrid load`."""
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        check_declared({name: columns})
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def links_of(text: str) -> Iterator[tuple[str, str, str]]:
    """(label, path, symbol) of the lines at the end of a rule, `- Reference: [PATH#NAME](../PATH)`."""
    pattern = r"^- (Reference|Kernel|Code|Table test): \[`([^`#]+)#([^`]+)`\]\(([^)]+)\)$"
    for label, path, symbol, target in re.findall(pattern, text, re.MULTILINE):
        assert target == f"../{path}", f"{path}#{symbol} is linked to {target}"
        yield label, path, symbol
