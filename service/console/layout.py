"""What all pages have in common: the frame, forms, tables and notices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from pricegrid.service.clock import instant_text
from pricegrid.service.console.html import Element, Node, document, tag


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a page."""

    title: str
    path: str
    navigation: Sequence[tuple[str, str]]
    """Path and name of each page."""
    about: str
    """Which server is asked."""
    signed_in: bool


def page(frame: Frame, *body: Node) -> str:
    """A whole page."""
    places = [
        tag("li", tag("a", name, href=path, aria_current="page" if path == frame.path else None))
        for path, name in frame.navigation
    ]
    sign = (
        post("/sign-out", tag("button", "Sign out", type="submit", class_="quiet"))
        if frame.signed_in
        else tag("a", "Sign in", href="/sign-in", aria_current="page" if frame.path == "/sign-in" else None)
    )
    return document(
        tag(
            "html",
            tag(
                "head",
                tag("meta", charset="utf-8"),
                tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
                tag("meta", name="color-scheme", content="light dark"),
                tag("title", f"{frame.title} · Pricegrid"),
                tag("link", rel="icon", href="/favicon.svg", type="image/svg+xml"),
                tag("link", rel="stylesheet", href="/style.css"),
            ),
            tag(
                "body",
                tag("a", "Skip to content", href="#content", class_="skip"),
                tag(
                    "header",
                    tag("a", "Pricegrid", href="/", class_="brand"),
                    tag("nav", tag("ul", places), aria_label="Pages"),
                    tag("div", sign, class_="sign"),
                ),
                tag("main", tag("h1", frame.title), list(body), id="content", tabindex="-1"),
                tag("footer", tag("p", frame.about)),
            ),
            lang="en",
        )
    )


def ask(path: str, *fields: Node, button: str) -> Element:
    """A form that asks and changes nothing."""
    return tag(
        "form",
        list(fields),
        tag("button", button, type="submit", class_="primary"),
        method="get",
        action=path,
        class_="ask",
    )


def post(path: str, *inside: Node) -> Element:
    """A form that changes something."""
    return tag("form", list(inside), method="post", action=path)


def hidden(**values: str) -> list[Element]:
    """Fields that go with a form unseen."""
    return [tag("input", type="hidden", name=name, value=value) for name, value in values.items()]


def field(
    label: str,
    name: str,
    value: str,
    *,
    kind: str = "text",
    hint: str = "",
    needed: bool = False,
    wide: bool = False,
) -> Element:
    """A field with its label, and what it means when it is left empty."""
    return tag(
        "div",
        tag("label", label, for_=name),
        tag(
            "input",
            type=kind,
            id=name,
            name=name,
            value=value,
            required=needed,
            autocomplete="off",
            spellcheck="false",
            aria_describedby=f"{name}-hint" if hint else None,
        ),
        tag("span", hint, id=f"{name}-hint", class_="hint") if hint else None,
        class_="field wide" if wide else "field",
    )


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[Node]], right: Iterable[int] = ()
) -> Element:
    """A table whose first cell names its row; the columns numbered in `right` hold figures."""
    figures = set(right)

    def kind(at: int) -> str | None:
        return "figure" if at in figures else None

    head = [tag("th", name, scope="col", class_=kind(at)) for at, name in enumerate(header)]
    body = [
        tag(
            "tr",
            [
                tag("td", cell, class_=kind(at)) if at else tag("th", cell, scope="row", class_=kind(at))
                for at, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    inside = tag("table", tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body))
    return tag("div", inside, class_="scroll", tabindex="0", role="region", aria_label=caption)


def facts(pairs: Iterable[tuple[str, Node]]) -> Element:
    """Names with what they are; those that have nothing to say are left out."""
    said = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value not in ("", None)]
    return tag("dl", said, class_="facts")


def section(title: str, *inside: Node) -> Element:
    """A part of a page with its own heading."""
    return tag("section", tag("h2", title), list(inside))


def picture(chart: Element, caption: str) -> Element:
    """A picture that can be scrolled where it is too wide."""
    return tag(
        "figure",
        tag("div", chart, class_="scroll", tabindex="0", role="region", aria_label=caption),
        tag("figcaption", caption),
    )


def notice(*inside: Node, kind: str = "info") -> Element:
    """Something to be told: `info`, `good`, or `bad`, which screen readers say at once."""
    return tag("div", list(inside), class_=f"notice {kind}", role="alert" if kind == "bad" else "status")


def moment(instant: datetime | None) -> Node:
    """An instant, as it is written everywhere; nothing for None."""
    return None if instant is None else tag("time", instant_text(instant), datetime=instant_text(instant))


def badge(text: str) -> Element:
    """A status, whose word says it and whose colour underlines it."""
    good, wrong = {"FRESH", "OK", "SERVING", "answers"}, {"STALE", "NOT_SERVING", "UNAVAILABLE"}
    kind = "good" if text in good else "wrong" if text in wrong else "plain"
    return tag("span", text, class_=f"badge {kind}")


def link(text: Node, path: str, values: Mapping[str, str] | None = None) -> Element:
    """A link to a page with these fields filled in; empty ones are left out."""
    said = {name: value for name, value in (values or {}).items() if value}
    return tag("a", text, href=f"{path}?{urlencode(said)}" if said else path)
