"""The admin requests about feeds: from bytes to the types of `service.live.api`, and back to response bytes."""

from collections.abc import Iterable
from typing import Any

from pricegrid import v1
from pricegrid.atp.model import AS_OF_MIN_US, Source
from pricegrid.service.codec.live import list_limit
from pricegrid.service.codec.request import check_fields, parse
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.live.api import FeedIssue, ResetAsk, ResetRecord

_OFFSET = 1  # 0 is UNSPECIFIED in the proto


def decode_list_feed_issues(raw: bytes) -> tuple[bool, int]:
    """(whether it asks for restarts, limit) of a `ListFeedIssuesRequest`."""
    request = v1.ListFeedIssuesRequest()
    parse(request, raw)
    return request.restarts, list_limit(request.limit)


def decode_list_resets(raw: bytes) -> int:
    """The limit of a `ListResetsRequest`."""
    request = v1.ListResetsRequest()
    parse(request, raw)
    return list_limit(request.limit)


def decode_reset_streams(raw: bytes) -> ResetAsk:
    """Decodes and validates a `ResetStreamsRequest`."""
    request = v1.ResetStreamsRequest()
    parse(request, raw)
    check_fields(request, "sku", "branch", "actor")
    if not 0 < request.source <= len(Source):
        raise _invalid(f"source is {request.source}, not 1 to {len(Source)}")
    if not request.actor:
        raise _invalid("actor is missing: a reset is recorded with the name of who requested it")
    if not (request.sku or request.branch or request.all):
        raise _invalid("sku and branch are missing: name one of them, or set all")
    if request.all and (request.sku or request.branch):
        raise _invalid("all is set together with sku or branch: they contradict each other")
    effective_us = request.effective_us if request.HasField("effective_us") else None
    if effective_us is not None and effective_us <= AS_OF_MIN_US:
        raise _invalid("effective_us is before 1970")
    return ResetAsk(
        request.actor, Source(request.source - _OFFSET), request.sku, request.branch, effective_us
    )


def _invalid(message: str) -> RequestRefusedError:
    return RequestRefusedError(Reason.INVALID_RESET, message)


def encode_feed_issues(issues: Iterable[FeedIssue], correlation_id: str) -> bytes:
    """Encodes a `ListFeedIssuesResponse`."""
    response = v1.ListFeedIssuesResponse(correlation_id=correlation_id)
    for issue in issues:
        response.issues.add(
            source=_proto_value(issue.source),
            sku=issue.sku,
            branch=issue.branch,
            missing=[
                v1.SequenceRange(first_sequence=first, last_sequence=last) for first, last in issue.missing
            ],
            restart_count=issue.restarts,
            restart_sequence=issue.restart_sequence,
            restart_effective_us=issue.restart_us,
        )
    return response.SerializeToString()


def encode_reset(record: ResetRecord, correlation_id: str) -> bytes:
    """Encodes a `ResetStreamsResponse`."""
    return v1.ResetStreamsResponse(
        reset=_reset_message(record), correlation_id=correlation_id
    ).SerializeToString()


def encode_resets(records: Iterable[ResetRecord], correlation_id: str) -> bytes:
    """Encodes a `ListResetsResponse`."""
    return v1.ListResetsResponse(
        resets=map(_reset_message, records), correlation_id=correlation_id
    ).SerializeToString()


def _reset_message(record: ResetRecord) -> v1.StreamReset:
    return v1.StreamReset(
        reset_id=record.reset_id,
        at_us=record.at_us,
        actor=record.actor,
        source=_proto_value(record.source),
        sku=record.sku,
        branch=record.branch,
        effective_us=record.effective_us,
        stream_count=record.streams,
    )


def _proto_value(source: Source) -> Any:
    return source + _OFFSET
