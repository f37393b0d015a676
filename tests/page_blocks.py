"""The commands that README and docs show: read out of the pages, with what the pages say of them.

A fenced block of the kind `sh` or `python` holds commands; a block of the kind `text` right behind it is what they
print. Comments before a block say what is special about it (`tests.page_commands` runs them):

    <!-- not run: REASON -->    it needs what a test doesn't have, and is only parsed
    <!-- exits N -->            its last command ends with N; without it all commands end with 0
    <!-- shop -->               in the tutorial: what makes and serves the shop that other pages ask
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
KINDS = ("sh", "python")
SHOP = "shop"
FENCE = re.compile(
    r"(?P<comments>(?:^ *<!--[^\n]*-->\n)*)^(?P<indent> *)```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
EXITS = re.compile(r"<!-- exits (\d+) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands of a page."""

    page: str
    line: int
    kind: str
    text: str
    not_run: str
    """Why not; empty: it is run."""
    exits: int
    is_of_shop: bool
    printed: str | None
    """What the page says that it prints."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """All pages for people, by their path from the root."""
    found = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]
    found += [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def page_text(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    """The blocks of commands of a page."""
    text = page_text(page)
    fences: list[re.Match[str] | None] = list(FENCE.finditer(text))
    found = []
    for fence, following in pairwise([*fences, None]):
        if fence is None or fence["kind"] not in KINDS:
            continue
        comments = fence["comments"]
        why, exits = NOT_RUN.search(comments), EXITS.search(comments)
        is_answered = following is not None and following["kind"] == "text"
        is_next = following is not None and not text[fence.end() : following.start()].strip()
        found.append(
            Block(
                page,
                text.count("\n", 0, fence.start("text")),
                str(fence["kind"]),
                undented(fence["text"], len(fence["indent"])),
                why[1] if why else "",
                int(exits[1]) if exits else 0,
                f"<!-- {SHOP} -->" in comments,
                undented(following["text"], len(following["indent"])) if is_answered and is_next else None,
            )
        )
    return found


def undented(text: str, indent: int) -> str:
    """The lines without so many blanks before them."""
    return re.sub(rf"^ {{{indent}}}", "", text, flags=re.MULTILINE)
