"""HTML and SVG as values: elements with attributes and children, and text, which is always escaped.

A page is built of calls that a type checker sees, and nothing in it is markup unless it was made here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_VOID: Final = frozenset({"br", "hr", "input", "link", "meta"})


@dataclass(frozen=True, slots=True)
class Element:
    """An element with what is inside it."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    children: "tuple[Node, ...]"


Node = Element | str | None | Sequence["Node"]
"""What can stand in a page; None is nothing."""


def tag(name: str, /, *children: Node, **attributes: str | int | bool | None) -> Element:
    """An element. `class_` is the attribute class, `aria_label` is aria-label; True is an attribute without a value,
    None and False are none."""
    said = [
        (key.rstrip("_").replace("_", "-"), "" if value is True else str(value))
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    return Element(name, tuple(said), children)


def render(node: Node) -> str:
    """The text of a page's part."""
    return "".join(_parts(node))


def document(root: Element) -> str:
    """The text of a whole page."""
    return f"<!doctype html>\n{render(root)}\n"


def _parts(node: Node) -> Iterable[str]:
    if node is None:
        return
    if isinstance(node, str):
        yield escape(node)
    elif isinstance(node, Element):
        said = "".join(f' {name}="{escape(value)}"' for name, value in node.attributes)
        yield f"<{node.name}{said}>"
        if node.name not in _VOID:
            for child in node.children:
                yield from _parts(child)
            yield f"</{node.name}>"
    else:
        for child in node:
            yield from _parts(child)
