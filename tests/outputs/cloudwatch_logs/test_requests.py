"""Requests obey every limit of the service, and hold every event."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.outputs.cloudwatch_logs.cutting import Part, id_of
from shipper.outputs.cloudwatch_logs.requests import (
    DAY_MS,
    EVENT_LIMIT,
    EVENT_OVERHEAD,
    EVENTS_LIMIT,
    REQUEST_LIMIT,
    Cut,
    Events,
    Request,
    Stream,
    halves,
    remade,
    request_head,
    requests_of,
)

STREAM = Stream("G", "S")


def events_of(*events: tuple[int, str]) -> Events:
    return Events([t for t, _ in events], [text for _, text in events], [len(text.encode()) for _, text in events])


def sent(request: Request) -> list[tuple[int, str]]:
    return [(e["timestamp"], e["message"]) for e in json.loads(request.body)["logEvents"]]


def sizes_of(*events: tuple[int, str], limit: int = EVENT_LIMIT) -> list[int]:
    return [r.events for r in requests_of(STREAM, events_of(*events), limit, Cut())]


def test_body_is_exactly_this_text() -> None:
    [request] = requests_of(
        STREAM, events_of((1700000000123, 'a "q" \\ \n é'), (1700000000124, "b")), EVENT_LIMIT, Cut()
    )

    assert request.body.decode() == (
        r'{"logGroupName":"G","logStreamName":"S","logEvents":[{"timestamp":1700000000123,"message":"a \"q\" \\ \n é"}'
        r',{"timestamp":1700000000124,"message":"b"}]}'
    )
    assert (request.events, request.size) == (2, 13)


def test_names_are_escaped() -> None:
    head = request_head(Stream("fluent", "systemd-fsck@dev-disk-by\\x2dlabel-BOOT.service"))

    assert head == (
        rb'{"logGroupName":"fluent","logStreamName":"systemd-fsck@dev-disk-by\\x2dlabel-BOOT.service","logEvents":'
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([(5, "x")] * 10_000, [10_000]),
        ([(5, "x")] * 10_001, [10_000, 1]),
        ([(5, "x")] * 20_001, [10_000, 10_000, 1]),
        ([(5, "x" * 300_000)] * 5, [3, 2]),
        ([(5, "x" * 524_262)] * 2, [2]),
        ([(5, "x" * 524_262), (5, "x" * 524_263)], [1, 1]),
        ([(5, "é" * 262_131)] * 2, [2]),
        ([(0, "a"), (DAY_MS - 1, "b")], [2]),
        ([(0, "a"), (DAY_MS, "b")], [1, 1]),
        ([(0, "a"), (DAY_MS, "b"), (DAY_MS + 5, "c"), (3 * DAY_MS, "d")], [1, 2, 1]),
    ],
)
def test_limits_of_a_request(events: list[tuple[int, str]], expected: list[int]) -> None:
    assert sizes_of(*events) == expected


@pytest.mark.parametrize(
    ("message", "left", "cut"),
    [
        ("x" * 1_048_550, 1_048_550, 0),
        ("x" * 1_048_551, 1_048_550, 1),
        ("x" * 5_000_000, 1_048_550, 1),
        ("xx" + "😀" * 262_137, 1_048_550, 0),
        ("xxx" + "😀" * 262_137, 1_048_547, 1),
        ('"' * 1_048_551, 1_048_550, 1),
    ],
)
def test_an_event_too_large_is_cut_to_whole_characters(message: str, left: int, cut: int) -> None:
    seen = Cut()

    [request] = requests_of(STREAM, events_of((1, message)), EVENT_LIMIT, seen)

    assert request.size == left
    assert message.startswith(sent(request)[0][1])
    assert seen.events == cut


def test_events_of_one_millisecond_keep_their_order() -> None:
    [request] = requests_of(STREAM, events_of((2, "c"), (1, "b"), (2, "a"), (1, "z")), EVENT_LIMIT, Cut())

    assert sent(request) == [(1, "b"), (1, "z"), (2, "c"), (2, "a")]


def test_halves_hold_the_same_events() -> None:
    events = events_of((1, "a"), (2, 'é "'), (3, "c\\u00e9"))
    events.entity = b'{"k":1}'
    [request] = requests_of(STREAM, events, EVENT_LIMIT, Cut())

    first, second = halves(request)

    assert (first.events, second.events) == (1, 2)
    assert sent(first) + sent(second) == sent(request)
    assert first.size + second.size == request.size
    assert b'"entity":{"k":1},"logEvents":[' in second.body


def test_a_smaller_event_limit_cuts_the_events_of_a_request() -> None:
    [request] = requests_of(STREAM, events_of((1, "a" * 300_000), (2, "b")), EVENT_LIMIT, Cut())
    cut = Cut()

    [smaller] = remade([request], 262_144, cut)

    assert sent(smaller) == [(1, "a" * 262_118), (2, "b")]
    assert (cut.events, cut.largest) == (1, 300_000)


def in_parts(*events: tuple[int, str], limit: int = EVENT_LIMIT) -> list[Request]:
    return requests_of(STREAM, events_of(*events), limit, Cut(in_parts=True))


def test_each_part_of_an_event_has_a_request_and_the_others_stay_around_it() -> None:
    text = "x" * 1200
    requests = in_parts((1, "a"), (2, "b"), (2, text), (2, "c"), (3, "d"), limit=1000)

    assert [[time for time, _ in sent(r)] for r in requests] == [[1, 2], [2], [2], [2, 3]]
    assert [r.part for r in requests] == [None, Part(1, 2, id_of(text)), Part(2, 2, id_of(text)), None]
    assert [r.goes_on for r in requests] == [False, True, False, False]
    assert [r.size for r in requests] == [2, 1000 - EVENT_OVERHEAD, 1200 + 2 * 31 - 974, 2]


def test_only_events_above_the_limit_come_in_parts() -> None:
    cut = Cut(in_parts=True)
    events = events_of((1, "a" * (EVENT_LIMIT - EVENT_OVERHEAD)), (2, "b" * (EVENT_LIMIT - EVENT_OVERHEAD + 1)))

    requests = requests_of(STREAM, events, EVENT_LIMIT, cut)

    assert [r.events for r in requests] == [1, 1, 1]
    assert [r.part is None for r in requests] == [True, False, False]
    assert (cut.events, cut.largest) == (1, EVENT_LIMIT - EVENT_OVERHEAD + 1)


def test_parts_are_made_anew_for_a_smaller_limit() -> None:
    text = "".join(map(str, range(2000)))
    cut = Cut(in_parts=True)

    requests = remade(in_parts((5, text), limit=4000), 1500, cut)

    assert requests == in_parts((5, text), limit=1500)
    assert cut.events == 1


def test_parts_that_fit_stay_as_they_are() -> None:
    requests, cut = in_parts((5, "x" * 3000), limit=1500), Cut(in_parts=True)

    assert remade(requests, 1500, cut) == requests
    assert cut.events == 0


def test_token_goes_in_front_of_the_events() -> None:
    [request] = requests_of(STREAM, events_of((1, '"logEvents":[')), EVENT_LIMIT, Cut())

    assert request.with_token("t9") == (
        b'{"logGroupName":"G","logStreamName":"S","sequenceToken":"t9",'
        b'"logEvents":[{"timestamp":1,"message":"\\"logEvents\\":["}]}'
    )


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
lengths = st.sampled_from([1, 1, 1, 1000, 60_000, 400_000, 1_048_550, 1_100_000])
times = st.one_of(st.integers(0, 3 * DAY_MS), st.integers(0, 5))


@given(st.lists(st.tuples(times, texts, lengths), max_size=30), st.sampled_from([EVENT_LIMIT, 262_144]))
@settings(max_examples=25, deadline=None)
def test_every_request_obeys_all_limits_and_no_event_is_lost(drawn: list[tuple[int, str, int]], limit: int) -> None:
    given_events = [(t, (text * (length // len(text) + 1))[: max(length, 1)]) for t, text, length in drawn]

    requests = requests_of(STREAM, events_of(*given_events), limit, Cut())

    for request in requests:
        found = sent(request)
        assert 0 < len(found) == request.events <= EVENTS_LIMIT
        assert sum(len(m.encode()) + EVENT_OVERHEAD for _, m in found) <= REQUEST_LIMIT
        assert request.size == sum(len(m.encode()) for _, m in found)
        assert all(0 < len(m.encode()) + EVENT_OVERHEAD <= limit for _, m in found)
        assert all(a <= b for (a, _), (b, _) in pairwise(found))
        assert found[-1][0] - found[0][0] < DAY_MS
    came_out = [event for request in requests for event in sent(request)]
    wanted = sorted(given_events, key=lambda event: event[0])
    assert len(came_out) == len(wanted)
    assert all(t == w and text.startswith(m) for (t, m), (w, text) in zip(came_out, wanted, strict=True))
    assert all(
        m == text or len(m.encode()) > limit - EVENT_OVERHEAD - 12
        for (_, m), (_, text) in zip(came_out, wanted, strict=True)
    )
