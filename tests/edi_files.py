"""Files of EDI as partners send them, made up for the tests: interchanges of X12 and EDIFACT, written in any way."""

import io
from collections.abc import Iterable

from pricegrid.edi.syntax.model import Fault, Header, Part, Segment
from pricegrid.edi.syntax.reading import read

ORDER = (
    ("BEG", "00", "SA", "PO-1", "", "20260102"),
    ("PO1", "1", "12", "EA", "1.25", "PE", "VP", "CABLE-3"),
    ("CTT", "1"),
)


def isa(control="000000001", *, sender="PARTNER", receiver="PRICEGRID", **changed):
    """The sixteen elements of an ISA; `ISA05="01"` changes one."""
    elements = ["00", " " * 10, "00", " " * 10, "ZZ", f"{sender:<15}", "ZZ", f"{receiver:<15}"]
    elements += ["260102", "0930", "U", "00401", control, "0", "P", ">"]
    for name, value in changed.items():
        elements[int(name.removeprefix("ISA")) - 1] = value
    return elements


def x12(
    *sets,
    element="*",
    terminator="~",
    component=">",
    control="000000001",
    kind="PO",
    version="004010",
    line_end="",
    header=None,
    encoding="latin-1",
):
    """An interchange with one group; each set is (its id, its segments)."""
    segments = [("ISA", *(header or isa(control)[:15]), component)]
    segments.append(("GS", kind, "PARTNER", "PRICEGRID", "20260102", "0930", "1", "X", version))
    for at, (name, body) in enumerate(sets, 1):
        number = f"{at:04}"
        segments += [("ST", name, number), *body, ("SE", str(len(body) + 2), number)]
    segments += [("GE", str(len(sets)), "1"), ("IEA", "1", control)]
    return written(segments, element, terminator + line_end).encode(encoding)


def written(segments: Iterable[tuple[str, ...]], element="*", terminator="~") -> str:
    return "".join(element.join(segment) + terminator for segment in segments)


def edifact(*messages, una="", control="1", unb="UNB+UNOC:3+PARTNER:14+PRICEGRID:14+260102:0930"):
    """An interchange in the standard separators; each message is (its type, its segments as text)."""
    parts = [una, f"{unb}+{control}'"]
    for at, (name, body) in enumerate(messages, 1):
        parts.append(f"UNH+{at}+{name}:D:96A:UN'")
        parts += [f"{segment}'" for segment in body]
        parts.append(f"UNT+{len(body) + 2}+{at}'")
    parts.append(f"UNZ+{len(messages)}+{control}'")
    return "".join(parts).encode("latin-1")


def parts_of(data: bytes) -> list[Part]:
    return list(read(io.BytesIO(data)))


def headers(parts: Iterable[Part]) -> list[Header]:
    return [part for part in parts if isinstance(part, Header)]


def segments(parts: Iterable[Part]) -> list[Segment]:
    return [part for part in parts if isinstance(part, Segment)]


def codes(parts: Iterable[Part]) -> list[str]:
    return [part.code.value for part in parts if isinstance(part, Fault)]


def texts(part: Segment) -> tuple[str, ...]:
    """Tag and elements of a segment whose elements are simple."""
    return (part.tag, *(element[0] for element in part.elements))


class Generated(io.RawIOBase):
    """A file that is made while it is read: its beginning, then a block so and so often."""

    def __init__(self, begin: bytes, block: bytes, times: int) -> None:
        self.left = self.chunks(begin, block, times)

    @staticmethod
    def chunks(begin, block, times):
        if begin:
            yield begin
        for _ in range(times):
            yield block

    def read(self, size=-1):
        return next(self.left, b"")
