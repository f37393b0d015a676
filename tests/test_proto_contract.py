"""The protos say what the engine says, and keep to the style they promise."""

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from pricegrid import availability, results, v1
from pricegrid.atp.model import AvailabilityStatus, Freshness, Limit, Source
from pricegrid.atp.rules.events import Kind, Measure, ReceiptKind
from pricegrid.pricing_engine.model import ExceptionReason, LineStatus
from pricegrid.service.errors import CODES, Reason

FILES = (
    "pricegrid/v1/order_service.proto",
    "pricegrid/v1/part_number.proto",
    "pricegrid/v1/price.proto",
    "pricegrid/v1/pricing_service.proto",
    "pricegrid/v1/availability.proto",
    "pricegrid/v1/availability_service.proto",
    "pricegrid/v1/quote_service.proto",
    "pricegrid/v1/inventory_event.proto",
    "pricegrid/v1/inventory_feed_service.proto",
    "pricegrid/v1/reservation.proto",
    "pricegrid/v1/admin_service.proto",
)
ORDINALS = {"sequence", "version", "restart_sequence", "first_sequence", "last_sequence"}
"""Numbers that count nothing and measure nothing: they have no unit."""
FORBIDDEN = {
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_FIXED32,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_FLOAT,
    FieldDescriptor.TYPE_DOUBLE,
}


def file(name: str) -> FileDescriptor:
    assert v1.PRICING_SERVICE_FILE  # the import is what registers the files
    return descriptor_pool.Default().FindFileByName(name)


def messages() -> list[Descriptor]:
    return [message for name in FILES for message in file(name).message_types_by_name.values()]


def test_line_statuses_are_the_engines_one_further():
    proto = {number - 1: name for name, number in v1.LineStatus.items() if number}

    assert proto == {status.value: f"LINE_STATUS_{status.name}" for status in LineStatus}


def test_availability_statuses_are_the_engines_one_further():
    proto = {number - 1: name for name, number in v1.AvailabilityStatus.items() if number}

    assert proto == {status.value: f"AVAILABILITY_STATUS_{status.name}" for status in AvailabilityStatus}


def test_promise_limits_are_the_engines():
    proto = {number: name for name, number in v1.PromiseLimit.items() if number}

    assert proto == {limit.value: f"PROMISE_LIMIT_{limit.name}" for limit in Limit if limit}


def test_freshness_states_are_the_engines_one_further():
    proto = {number - 1: name for name, number in v1.FreshnessState.items() if number}

    assert proto == {state.value: f"FRESHNESS_STATE_{state.name}" for state in Freshness}


@pytest.mark.parametrize(
    ("proto", "domain", "prefix"),
    [
        (v1.InventorySource, Source, "INVENTORY_SOURCE_"),
        (v1.InventoryMeasure, Measure, "INVENTORY_MEASURE_"),
        (v1.InventoryEventKind, Kind, "INVENTORY_EVENT_KIND_"),
        (v1.InventoryReceiptKind, ReceiptKind, "INVENTORY_RECEIPT_KIND_"),
    ],
)
def test_the_words_of_events_are_the_domains_one_further(proto, domain, prefix):
    names = {number - 1: name for name, number in proto.items() if number}

    assert names == {value.value: f"{prefix}{value.name}" for value in domain}


def test_a_line_is_the_same_on_the_wire_whoever_is_asked():
    priced = v1.PriceLine(sku="A", quantity_micros=-5, uom="BOX")

    assert v1.AvailabilityLine.FromString(priced.SerializeToString()) == v1.AvailabilityLine(
        sku="A", quantity_micros=-5, uom="BOX"
    )


def test_exception_reasons_are_the_engines():
    proto = {
        number: name.removeprefix("EXCEPTION_REASON_")
        for name, number in v1.ExceptionReason.items()
        if number
    }

    assert proto == {reason.value: reason.name for reason in ExceptionReason if reason}


def test_client_knows_every_value_of_the_wire():
    for client, proto, prefix in (
        (results.LineStatus, v1.LineStatus, "LINE_STATUS_"),
        (results.PriceSource, v1.PriceSource, "PRICE_SOURCE_"),
        (results.ExceptionReason, v1.ExceptionReason, "EXCEPTION_REASON_"),
        (availability.AvailabilityStatus, v1.AvailabilityStatus, "AVAILABILITY_STATUS_"),
        (availability.FreshnessState, v1.FreshnessState, "FRESHNESS_STATE_"),
    ):
        names = {name.removeprefix(prefix) for name, number in proto.items() if number}
        assert {member.value for member in client} == names


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.name)
def test_no_unsigned_and_no_floating_point_numbers(message):
    assert [field.name for field in message.fields if field.type in FORBIDDEN] == []


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.name)
def test_numbers_carry_their_scale_in_their_name(message):
    numbers = [
        f.name
        for f in message.fields
        if f.type in {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SFIXED64}
    ]

    without = [name for name in numbers if not name.endswith(("_micros", "_us", "_ms", "_count"))]
    assert [name for name in without if name not in ORDINALS] == []


def test_every_method_has_its_own_request_and_response():
    methods = [
        method
        for name in FILES
        for service in file(name).services_by_name.values()
        for method in service.methods
    ]

    assert len(methods) == 22
    for method in methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"


def test_the_service_comments_name_every_reason(request):
    texts = [(request.config.rootpath / "proto" / name).read_text(encoding="utf-8") for name in FILES]

    assert [reason for reason in Reason if not any(reason in text for text in texts)] == []


def test_the_api_page_names_every_reason_with_its_code(request):
    lines = (request.config.rootpath / "docs" / "api.md").read_text(encoding="utf-8").splitlines()

    for reason in Reason:
        assert any(f"`{reason}`" in line and f"`{CODES[reason].name}`" in line for line in lines), reason


def test_every_reason_has_a_code():
    assert set(CODES) == set(Reason)
