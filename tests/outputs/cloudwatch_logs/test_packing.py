"""Packing batch by batch gives what making the requests from all events at once gives."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.outputs.cloudwatch_logs.packing import Packer
from shipper.outputs.cloudwatch_logs.requests import (
    DAY_MS,
    EVENT_LIMIT,
    EVENTS_LIMIT,
    REQUEST_LIMIT,
    Cut,
    Events,
    Request,
    Stream,
    requests_of,
)

STREAM = Stream("G", "S")
NOW_MS = 1_700_000_000_000

steps = st.one_of(st.integers(0, 3), st.sampled_from([0, DAY_MS - 1, DAY_MS, -5, DAY_MS // 2]))
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(['{"log":"a \\"q\\" é"}', "x" * 1000, "y" * (REQUEST_LIMIT // 3), "%d \x7f", "z" * 300_000]),
)
batches = st.lists(st.lists(st.tuples(steps, texts), max_size=12), max_size=6)


def events_of(events: list[tuple[int, str]], *, entity: bytes = b"", ascii_only: bool = False) -> Events:
    texts = [text for _, text in events]
    return Events([t for t, _ in events], texts, [len(t.encode()) for t in texts], entity, ascii_only)


def packed(parts: list[list[tuple[int, str]]], limit: int, cut: Cut, *, ascii_only: bool = False) -> list[Request]:
    packer = Packer(STREAM, limit, cut)
    for part in parts:
        packer.add(events_of(part, entity=b'{"e":1}', ascii_only=ascii_only))
    return packer.finish()


def at_once(parts: list[list[tuple[int, str]]], limit: int, cut: Cut, *, ascii_only: bool = False) -> list[Request]:
    events = [event for part in parts for event in part]
    return requests_of(STREAM, events_of(events, entity=b'{"e":1}', ascii_only=ascii_only), limit, cut)


@given(batches, st.sampled_from([EVENT_LIMIT, 262_144, 500]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_both_ways_give_the_same_requests(drawn: list[list[tuple[int, str]]], limit: int, ascii_only: bool) -> None:
    parts, now = list[list[tuple[int, str]]](), NOW_MS
    for part in drawn:
        parts.append([(now := now + step, text or "-") for step, text in part])
    one_cut, other_cut = Cut(), Cut()

    one = packed(parts, limit, one_cut, ascii_only=ascii_only)

    assert one == at_once(parts, limit, other_cut, ascii_only=ascii_only)
    assert one_cut == other_cut


def test_a_request_is_full_at_ten_thousand_events_wherever_batches_end() -> None:
    parts = [[(NOW_MS + n, "m") for n in range(first, first + 3000)] for first in range(0, 21_000, 3000)]

    requests = packed(parts, EVENT_LIMIT, Cut())

    assert [r.events for r in requests] == [EVENTS_LIMIT, EVENTS_LIMIT, 1000]
    assert requests == at_once(parts, EVENT_LIMIT, Cut())


def test_events_that_are_late_bring_all_of_them_into_order() -> None:
    parts = [[(NOW_MS + 5, "a"), (NOW_MS + 9, "b")], [(NOW_MS + 7, "late")]]

    [request] = packed(parts, EVENT_LIMIT, Cut())

    assert [e["message"] for e in json.loads(request.body)["logEvents"]] == ["a", "late", "b"]


def test_a_stream_without_events_makes_no_request() -> None:
    assert packed([[], []], EVENT_LIMIT, Cut()) == []
