"""URL and body templates of the HTTP/JSON adapter, and paths into JSON.

A placeholder is `{name}` or `{name|form}`. In a URL its value is percent-encoded; the form `odata` first makes it an
OData string literal (`O'Brien` becomes `'O''Brien'`), `odata_list` makes `{skus}` a list of literals. In a body, a text
that consists of one placeholder is replaced by the value itself: `"{quantity}"` is sent as a number.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from pricegrid.erp.protocol import ErpConfigError

_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)(?:\|([a-z_]+))?\}", re.ASCII)
_FORMS: Final = ("odata", "odata_list")

Value = str | int | Decimal | list[str]


def placeholders(template: object) -> set[str]:
    """The names of the placeholders in a template, which is a text, or tables and lists with texts."""
    if isinstance(template, str):
        return {match.group(1) for match in _PLACEHOLDER.finditer(template)}
    if isinstance(template, Mapping):
        return {name for each in template.values() for name in placeholders(each)}
    if isinstance(template, list):
        return {name for each in template for name in placeholders(each)}
    return set()


def check_template(where: str, template: object, known: Iterable[str]) -> None:
    """Refuses unknown names and forms; raises ErpConfigError."""
    allowed = set(known)
    for name in sorted(placeholders(template)):
        if name not in allowed:
            raise ErpConfigError(f"{where} has {{{name}}}; there are {', '.join(sorted(allowed))}")
    if isinstance(template, str):
        for match in _PLACEHOLDER.finditer(template):
            if match.group(2) and match.group(2) not in _FORMS:
                raise ErpConfigError(f"{where} has the form |{match.group(2)}; there are {', '.join(_FORMS)}")


def fill_url(template: str, values: Mapping[str, Value]) -> str:
    """Fills a URL; values are quoted, so each stays one component."""

    def one(match: re.Match[str]) -> str:
        value, form = values[match.group(1)], match.group(2)
        if form == "odata_list":
            parts = value if isinstance(value, list) else [value]
            return quote(",".join(_literal(text_of(part)) for part in parts), safe="")
        text = ",".join(value) if isinstance(value, list) else text_of(value)
        return quote(_literal(text) if form == "odata" else text, safe="")

    parts, end = [], 0
    for match in _PLACEHOLDER.finditer(template):
        parts += [_quoted(template[end : match.start()]), one(match)]
        end = match.end()
    return "".join([*parts, _quoted(template[end:])])


def _quoted(text: str) -> str:
    """Quotes the text of the template itself, for example blanks, but not its separators."""
    return quote(text, safe="/?&=$'(),:@%;+~!*-._[]")


def fill_body(template: Any, values: Mapping[str, Value]) -> Any:
    """Fills a body; a text that is one placeholder becomes its value."""
    if isinstance(template, Mapping):
        return {key: fill_body(each, values) for key, each in template.items()}
    if isinstance(template, list):
        return [fill_body(each, values) for each in template]
    if not isinstance(template, str):
        return template
    whole = _PLACEHOLDER.fullmatch(template)
    if whole:
        return values[whole.group(1)]
    return _PLACEHOLDER.sub(lambda match: text_of(values[match.group(1)]), template)


def text_of(value: object) -> str:
    """A value as text, decimals without an exponent."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


MISSING: Final = object()


def at_path(document: Any, path: str) -> Any:
    """The value at the path `a.b.0.c` of a document, MISSING if there is none; the path '' is the document itself.

    A member whose name is the whole path is found first, such as OData's `@odata.nextLink`.
    """
    if not path:
        return document
    if isinstance(document, dict) and path in document:
        return document[path]
    step, _, rest = path.partition(".")
    if isinstance(document, dict) and step in document:
        return at_path(document[step], rest)
    if isinstance(document, list) and step.isdecimal() and int(step) < len(document):
        return at_path(document[int(step)], rest)
    return MISSING


def put_at(document: dict[str, Any], path: str, value: object) -> None:
    """Sets the value at the path `a.b` of a document, creating the tables on the way."""
    *above, last = path.split(".")
    for step in above:
        document = document.setdefault(step, {})
    document[last] = value
