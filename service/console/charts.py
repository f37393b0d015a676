"""Pictures as SVG, made on the server: the waterfall of a price, and figures that go on in steps.

Coordinates are whole units of the picture; the figures themselves are exact and stand in a table beside each picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pricegrid.columnar.decimals import decimal_text
from pricegrid.service.console.html import Element, Node, tag

_MICROS: Final = 10**6
_WIDTH: Final = 880
_ROW: Final = 36
_BAR_LEFT, _BAR_RIGHT = 230, 740
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 860, 26, 262
_HEIGHT: Final = 300
_TICKS: Final = 5
_NICE: Final = (1, 2, 5, 10)
_LABEL_MAX: Final = 30


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a waterfall: the amount after a step."""

    label: str
    detail: str
    amount: Fraction
    shown: str
    starts: bool
    """It begins anew, from zero: the first amount, one in another currency, the result."""
    is_result: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """From `at` on the figure is `value`; None is none."""

    at: int
    value: Fraction | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happens at a place of the axis, above or below the line."""

    at: int
    text: str
    kind: str
    """The class it is drawn as: `receipt` or `demand`."""


def waterfall(title: str, bars: Sequence[Bar]) -> Element:
    """How an amount came about: a row a step, with what it adds or takes."""
    most = max((abs(bar.amount) for bar in bars), default=Fraction(0)) or Fraction(1)

    def across(amount: Fraction) -> int:
        return _BAR_LEFT + int(abs(amount) / most * (_BAR_RIGHT - _BAR_LEFT))

    rows: list[Node] = []
    before = Fraction(0)
    for at, bar in enumerate(bars):
        top = at * _ROW + 6
        begin, end = (Fraction(0), bar.amount) if bar.starts else sorted((before, bar.amount))
        kind = "result" if bar.is_result else "start" if bar.starts else _kind(before, bar.amount)
        left, right = across(begin), across(end)
        rows += [
            tag("text", _short(bar.label), x=0, y=top + 12, class_="step"),
            tag("text", _short(bar.detail), x=0, y=top + 25, class_="detail"),
            tag("rect", x=left, y=top, width=max(2, right - left), height=22, rx=2, class_=kind),
            tag("text", bar.shown, x=_WIDTH, y=top + 16, text_anchor="end", class_="amount"),
        ]
        if at + 1 < len(bars) and not (bars[at + 1].starts and not bars[at + 1].is_result):
            edge = across(bar.amount)
            rows.append(tag("line", x1=edge, x2=edge, y1=top + 22, y2=top + _ROW, class_="join"))
        before = bar.amount
    return _picture(title, len(bars) * _ROW + 8, rows)


def steps(
    title: str,
    points: Sequence[Step],
    end: int,
    ticks: Sequence[tuple[int, str]],
    marks: Sequence[Mark] = (),
) -> Element:
    """A figure that goes on in steps from the first point to `end`, over an axis with `ticks`."""
    known = [point.value for point in points if point.value is not None]
    low, high, scale = _scale(min([*known, Fraction(0)]), max([*known, Fraction(0)]))
    begin = points[0].at if points else 0
    length = max(1, end - begin)

    def x(at: int) -> int:
        return _LEFT + (min(max(at, begin), end) - begin) * (_RIGHT - _LEFT) // length

    def y(value: Fraction) -> int:
        return _BOTTOM - int((value - low) / (high - low) * (_BOTTOM - _TOP))

    drawn: list[Node] = []
    for value in scale:
        kind = "axis" if value == 0 else "grid"
        drawn.append(tag("line", x1=_LEFT, x2=_RIGHT, y1=y(value), y2=y(value), class_=kind))
        drawn.append(
            tag("text", _figure(value), x=_LEFT - 8, y=y(value) + 4, text_anchor="end", class_="tick")
        )
    for at, label in ticks:
        drawn.append(tag("line", x1=x(at), x2=x(at), y1=_BOTTOM, y2=_BOTTOM + 5, class_="axis"))
        anchor = "end" if x(at) > _RIGHT - 40 else "middle"
        drawn.append(tag("text", label, x=x(at), y=_BOTTOM + 20, text_anchor=anchor, class_="tick"))
    drawn += [_mark(mark, x(mark.at)) for mark in marks]
    ends = [*(point.at for point in points[1:]), end]
    above: int | None = None
    for point, until in zip(points, ends, strict=True):
        if point.value is None:
            above = None
            continue
        left, right, height, zero = x(point.at), x(until), y(point.value), y(Fraction(0))
        drawn.append(
            tag(
                "rect",
                x=left,
                y=min(height, zero),
                width=right - left,
                height=abs(zero - height),
                class_="area",
            )
        )
        if above is not None:
            drawn.append(tag("line", x1=left, x2=left, y1=above, y2=height, class_="line"))
        drawn.append(tag("line", x1=left, x2=right, y1=height, y2=height, class_="line"))
        drawn.append(tag("circle", cx=left, cy=height, r=3, class_="point"))
        above = height
    return _picture(title, _HEIGHT, drawn)


def spread(begin: int, end: int, count: int) -> list[int]:
    """Places on an axis, evenly from `begin` to `end`."""
    return sorted({begin + (end - begin) * number // (count - 1) for number in range(count)})


def _mark(mark: Mark, x: int) -> Element:
    is_receipt = mark.kind == "receipt"
    points = f"{x - 6},{_TOP - 10} {x + 6},{_TOP - 10} {x},{_TOP - 20}"
    if not is_receipt:
        points = f"{x - 6},{_TOP - 20} {x + 6},{_TOP - 20} {x},{_TOP - 10}"
    return tag(
        "g",
        tag("title", mark.text),
        tag("line", x1=x, x2=x, y1=_TOP - 8, y2=_BOTTOM, class_=f"event {mark.kind}"),
        tag("polygon", points=points, class_=mark.kind),
    )


def _picture(title: str, height: int, drawn: Sequence[Node]) -> Element:
    return tag(
        "svg",
        tag("title", title),
        list(drawn),
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
        aria_label=title,
        class_="chart",
    )


def _kind(before: Fraction, after: Fraction) -> str:
    return "less" if after < before else "more" if after > before else "same"


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_MAX else text[: _LABEL_MAX - 1] + "…"


def _scale(low: Fraction, high: Fraction) -> tuple[Fraction, Fraction, list[Fraction]]:
    """Round figures around those between `low` and `high`: the lowest, the highest, all of them."""
    if low == high:
        high = low + 1
    wanted = (high - low) / _TICKS
    size = Fraction(1, _MICROS)
    while size * 10 < wanted:
        size *= 10
    size = next(size * nice for nice in _NICE if size * nice >= wanted or nice == _NICE[-1])
    first, last = low // size, -(-high // size)
    return first * size, last * size, [number * size for number in range(first, last + 1)]


def _figure(value: Fraction) -> str:
    whole, point, digits = decimal_text(int(value * _MICROS)).partition(".")
    return f"{int(whole):,}{point}{digits}" if whole != "-0" else whole + point + digits
