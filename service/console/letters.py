"""The page of dead letters: what could not be applied, why, and trying it again."""

import json

from pricegrid.service.console.asked import Asked, FormError
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import (
    ask,
    facts,
    field,
    hidden,
    link,
    moment,
    notice,
    post,
    section,
    table,
)

PATH = "/dead-letters"
REPLAY = "/dead-letters/replay"
_SHOWN = 200


def form(asked: Asked) -> Element:
    """Asks for dead letters."""
    return ask(
        PATH,
        field("Origin", "origin", asked.text("origin"), hint="events or erp; empty: both"),
        field("At most", "limit", asked.text("limit"), hint=f"empty: {_SHOWN}"),
        button="List dead letters",
    )


def answer(asked: Asked) -> Node:
    """One dead letter with all that was said, or all of them."""
    return _one(asked, asked.text("id")) if asked.text("id") else _all(asked)


def replay(asked: Asked) -> Node:
    """Tries one again."""
    letter = asked.text("id")
    if not letter:
        raise FormError("id", "Dead letter: none is named")
    left = asked.client.replay_dead_letters([letter])
    back = tag("p", link("All dead letters", PATH), class_="more")
    if left:
        told = f"{letter} still can't be applied: {left[0].reason}, {left[0].detail}"
        return [notice(told, kind="bad"), _one(asked, letter)]
    return [notice(f"{letter} was replayed and is gone.", kind="good"), back]


def _all(asked: Asked) -> Node:
    found = asked.client.dead_letters(
        origin=asked.text("origin"), limit=asked.count("limit", "At most", _SHOWN)
    )
    if not found:
        return tag("p", "No dead letters.", class_="lead")
    rows = [
        (
            link(letter.dead_letter_id, PATH, {"id": letter.dead_letter_id}),
            letter.reason,
            letter.detail,
            letter.origin,
            moment(letter.received),
            f"{letter.count:,}",
            f"{letter.replays:,}",
        )
        for letter in found
    ]
    header = ("Dead letter", "Reason", "Detail", "Origin", "Received", "Times", "Replays")
    return section(f"Dead letters: {len(found):,}", table("The oldest first", header, rows, right=(5, 6)))


def _one(asked: Asked, name: str) -> Node:
    letter = asked.client.dead_letter(name)
    payload = json.dumps(letter.payload, ensure_ascii=False, indent=2)
    return section(
        f"Dead letter {letter.dead_letter_id}",
        facts(
            [
                ("Reason", letter.reason),
                ("Detail", letter.detail),
                ("Origin", letter.origin),
                ("Received", moment(letter.received)),
                ("Came last", moment(letter.last_received)),
                ("Times", f"{letter.count:,}"),
                ("Replays", f"{letter.replays:,}"),
            ]
        ),
        tag("h3", "What it says", id="payload"),
        tag("pre", payload, tabindex="0", role="region", aria_labelledby="payload"),
        post(
            REPLAY,
            hidden(id=letter.dead_letter_id),
            tag("button", f"Replay {letter.dead_letter_id}", type="submit", class_="primary"),
        ),
        tag("p", link("All dead letters", PATH), class_="more"),
    )
