"""Orders and their ship notices (A12): what rows and events make of them, plainly and as a snapshot compiles them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.atp.model import MICROS, Source
from pricegrid.atp.rules.events import Event, Kind, Measure, ReceiptKind
from pricegrid.atp.rules.receipts import net_receipts, receipts_of
from pricegrid.atp.rules.rows import Receipt
from pricegrid.loaders.compile.positions import compile_positions
from tests.atp_world import at, frames_of, q, world
from tests.profiles import examples


def order(units: int, line: str | None = None, ref: str = "PO", days: int = 5) -> Receipt:
    return Receipt(q(units), at(days), reference=ref, line=line)


def notice(units: int, line: str | None = None, ref: str = "ASN", days: int = 3) -> Receipt:
    return Receipt(q(units), at(days), kind="asn", reference=ref, line=line, supersedes="PO")


def net(*receipts: Receipt) -> list[int]:
    return [micros // MICROS for micros in net_receipts(receipts)]


def test_an_order_counts_less_its_notices():
    assert net(order(100), notice(60)) == [40, 60]
    assert net(order(100), notice(60), notice(60, ref="ASN-2")) == [0, 60, 60]
    assert net(notice(60)) == [60]


def test_a_notice_of_a_line_is_part_of_that_line():
    assert net(order(100, "10"), order(50, "20"), notice(60, "10")) == [40, 50, 60]
    assert net(order(100, "10"), order(50, "20"), notice(120, "10")) == [0, 50, 120]
    assert net(order(100), notice(60, "10")) == [40, 60]
    assert net(order(100, "10", days=6), order(50, "20"), notice(60)) == [90, 0, 60]


def test_a_notice_of_a_line_that_the_order_has_not_is_one_of_the_order():
    assert net(order(100, "10"), notice(60, "99")) == [40, 60]


def test_a_receipt_is_no_part_of_itself():
    assert net(Receipt(q(5), at(1), reference="PO", supersedes="PO"), order(7)) == [5, 2]


def told(sequence: int, units: int, ref: str, kind: Kind = Kind.SET, **more) -> Event:
    fields = {"expected_at_us": at(5), "order_ref": ref, **more}
    return Event(Source.TRANSIT, sequence, sequence, Measure.RECEIPT, kind, "X", "MAIN", q(units), **fields)


def asn(sequence: int, units: int, kind: Kind = Kind.SET) -> Event:
    return told(sequence, units, "ASN", kind, supersedes="PO", receipt_kind=ReceiptKind.ASN)


def comes_in(*events: Event, loaded: tuple[Receipt, ...] = ()) -> int:
    return sum(net_receipts(receipts_of(loaded, events))) // MICROS


def test_what_was_received_of_a_notice_does_not_come_back_to_the_order():
    assert comes_in(told(1, 100, "PO"), asn(2, 60)) == 100
    assert comes_in(told(1, 100, "PO"), asn(2, 60), asn(3, -60, Kind.DELTA)) == 40
    assert comes_in(asn(1, -60, Kind.DELTA), loaded=(order(100), notice(60))) == 40
    assert comes_in(told(1, 100, "PO"), asn(2, 60), asn(3, -60, Kind.DELTA), asn(4, 0)) == 40


def test_a_notice_that_is_set_lower_was_received_too():
    assert comes_in(told(1, 100, "PO"), asn(2, 60), asn(3, 0)) == 40
    assert comes_in(told(1, 100, "PO"), asn(2, 60), asn(3, -20, Kind.DELTA), asn(4, 10)) == 50


def test_what_was_cancelled_comes_back_when_the_order_is_told_again():
    assert comes_in(told(1, 100, "PO"), asn(2, 60), asn(3, 0), told(4, 100, "PO")) == 100


def test_an_order_told_again_says_what_is_still_to_come():
    assert comes_in(told(1, 100, "PO"), asn(2, 60), asn(3, -60, Kind.DELTA), told(4, 40, "PO")) == 40


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("notice"), st.integers(0, 60)),
        st.tuples(st.just("receive"), st.integers(0, 60)),
    ),
    max_size=8,
)


@given(st.integers(0, 100), STEPS)
def test_nothing_is_ever_promised_beyond_what_was_ordered_and_not_received(ordered, steps):
    events, received, open_units = [told(1, ordered, "PO")], 0, 0
    for step, units in steps:
        if step == "notice":  # a lower one would say that something was received
            open_units = max(open_units, min(units, ordered - received))
            events.append(asn(len(events) + 1, open_units))
        else:
            taken = min(units, open_units)
            open_units, received = open_units - taken, received + taken
            events.append(asn(len(events) + 1, -taken, Kind.DELTA))

    assert comes_in(*events) == ordered - received


@settings(deadline=None, max_examples=examples(40))
@given(
    st.lists(
        st.builds(
            Receipt,
            st.integers(0, 100).map(q),
            st.integers(-2, 6).map(at),
            reference=st.sampled_from([None, "PO", "ASN"]),
            line=st.sampled_from([None, "10", "20"]),
            supersedes=st.sampled_from([None, "PO", "ASN"]),
        ),
        max_size=6,
    )
)
def test_a_snapshot_counts_them_as_the_plain_rule_does(receipts):
    rows = world(X=5, Y=5)
    rows.receipts["X", "MAIN"] = receipts
    rows.receipts["Y", "MAIN"] = [order(100), notice(60)]
    arrays = compile_positions(frames_of(rows))

    start, blocks = arrays["atp_receipt_start"], arrays["atp_pair_blocks"]
    columns = [
        arrays[f"atp_receipt_{each}"] for each in ("quantity", "at", "reference", "line", "supersedes")
    ]
    stored = [
        Receipt(int(row[0]), int(row[1]), MICROS, "purchase", *(name(arrays, each) for each in row[2:]))
        for row in zip(*columns, strict=True)
    ]
    counted, place = [], 0
    for pair in range(len(start) - 1):
        many = int(start[pair + 1] - start[pair])
        if many:
            counted.append([int(blocks[place + 1 + 3 * k + 1]) for k in range(many)])
            place += 1 + 3 * many
    expected = [
        net_receipts(stored[int(start[pair]) : int(start[pair + 1])])
        for pair in range(len(start) - 1)
        if start[pair + 1] > start[pair]
    ]
    assert counted == expected
    assert sorted(row.quantity_micros for row in stored) == sorted(
        row.quantity_micros for many in rows.receipts.values() for row in many
    )


def name(arrays, ordinal: int) -> str | None:
    offsets = arrays["atp_reference_offsets"]
    if ordinal < 0:
        return None
    return arrays["atp_reference_text"][offsets[ordinal] : offsets[ordinal + 1]].tobytes().decode()
