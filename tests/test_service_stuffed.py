"""Requests that are stuffed with fields: refused before the protobuf runtime makes an object for each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.service.codec import request
from pricegrid.service.codec.prices import decode_price_lines
from pricegrid.service.codec.request import FIELDS_MAX, parse
from pricegrid.service.errors import Reason, RequestRefusedError


class Untouched:
    """A request that the runtime must not see."""

    def __init__(self, kind) -> None:
        self.DESCRIPTOR = kind.DESCRIPTOR

    def ParseFromString(self, raw: bytes) -> None:  # noqa: N802 -- as the runtime names it
        raise AssertionError(f"the runtime decodes {len(raw)} bytes")


def lines_tag(kind) -> bytes:
    return bytes([kind.DESCRIPTOR.fields_by_name["lines"].number << 3 | 2])


@pytest.mark.parametrize(
    "kind",
    [
        v1.PriceLinesRequest,
        v1.QuoteLinesRequest,
        v1.CheckAvailabilityRequest,
        v1.PromiseOrderRequest,
        v1.ReserveRequest,
        v1.WatchAvailabilityRequest,
    ],
)
@pytest.mark.parametrize("length", [b"\x00", b"\x02\x08\x00"], ids=["empty", "tiny"])
def test_two_million_lines_are_refused_before_they_are_decoded(kind, length):
    with pytest.raises(RequestRefusedError) as refused:
        parse(Untouched(kind), (lines_tag(kind) + length) * 2_000_000)

    assert refused.value.reason is Reason.TOO_MANY_LINES


def test_a_tag_in_a_longer_form_hides_nothing():
    tag = bytes([lines_tag(v1.PriceLinesRequest)[0] | 128, 0])

    with pytest.raises(RequestRefusedError) as refused:
        parse(Untouched(v1.PriceLinesRequest), (tag + b"\x00") * 1_000_000)
    assert refused.value.reason is Reason.TOO_MANY_LINES


def test_two_million_branches_are_refused_before_they_are_decoded():
    tag = bytes([v1.QuoteLinesRequest.DESCRIPTOR.fields_by_name["branches"].number << 3 | 2])

    with pytest.raises(RequestRefusedError) as refused:
        parse(Untouched(v1.QuoteLinesRequest), (tag + b"\x00") * 2_000_000)
    assert refused.value.reason is Reason.MALFORMED_REQUEST
    assert f"more than {FIELDS_MAX} fields" in refused.value.message


def test_a_long_text_of_the_same_bytes_is_too_long_and_not_too_many():
    message = v1.PriceLinesRequest(customer_id="C" + "\x12" * 100_000, lines=[v1.PriceLine(sku="A")])

    with pytest.raises(RequestRefusedError) as refused:
        decode_price_lines(message.SerializeToString())
    assert refused.value.reason is Reason.FIELD_TOO_LONG


@given(
    lines=st.integers(0, 12),
    branches=st.integers(0, 12),
    customer=st.sampled_from(["", "C", "\x12" * 40]),
    unknown=st.lists(
        st.sampled_from([b"\x78\x01", b"\x79" + b"\x12" * 8, b"\x7d" + b"\x12" * 4]), max_size=5
    ),
)
def test_fields_are_counted_as_they_are(lines, branches, customer, unknown):
    message = v1.QuoteLinesRequest(
        customer_id=customer,
        lines=[v1.PriceLine(sku="S" * (n % 3)) for n in range(lines)],
        branches=["B"] * branches,
    )
    raw = message.SerializeToString() + b"".join(unknown)
    fields = lines + branches + bool(customer) + len(unknown)
    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(request, "FIELDS_MAX", 10)
        if fields <= 10:
            request._check_field_count(message, raw)
        else:
            with pytest.raises(RequestRefusedError):
                request._check_field_count(message, raw)


@pytest.mark.parametrize("raw", [b"\x92" * 4_000_000, b"\x12" + b"\x80" * 4_000_000])
def test_a_number_without_an_end_ends_the_counting(raw):
    """Its bytes would otherwise be shifted into one number: minutes, for four megabytes."""
    with pytest.raises(RequestRefusedError) as refused:
        parse(v1.CheckAvailabilityRequest(), raw)
    assert refused.value.reason is Reason.MALFORMED_REQUEST


@given(st.binary(max_size=60))
def test_whatever_the_bytes_are_counting_ends(raw):
    request._check_field_count(v1.QuoteLinesRequest(), raw)
