"""Packing batch by batch gives what making the requests from all events at once gives."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.codecs.json_lines import HOLE, HoledLines
from shipper.outputs.cloudwatch_logs.packing import LineEvents, Packer
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


@given(batches, st.sampled_from([EVENT_LIMIT, 262_144, 500]), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_both_ways_give_the_same_requests(
    drawn: list[list[tuple[int, str]]], limit: int, ascii_only: bool, in_parts: bool
) -> None:
    parts, now = list[list[tuple[int, str]]](), NOW_MS
    for part in drawn:
        parts.append([(now := now + step, text or "-") for step, text in part])
    one_cut, other_cut = Cut(in_parts=in_parts), Cut(in_parts=in_parts)

    one = packed(parts, limit, one_cut, ascii_only=ascii_only)

    assert one == at_once(parts, limit, other_cut, ascii_only=ascii_only)
    assert one_cut == other_cut


def test_a_request_is_full_at_ten_thousand_events_wherever_batches_end() -> None:
    parts = [[(NOW_MS + n, "m") for n in range(first, first + 3000)] for first in range(0, 21_000, 3000)]

    requests = packed(parts, EVENT_LIMIT, Cut())

    assert [r.events for r in requests] == [EVENTS_LIMIT, EVENTS_LIMIT, 1000]
    assert requests == at_once(parts, EVENT_LIMIT, Cut())


def test_a_request_is_full_with_what_every_one_of_its_events_weighs_wherever_batches_end() -> None:
    parts = [[(NOW_MS + n, "x" * 100)] * 700 for n in range(12)] + [[(NOW_MS + 12, "y" * 2000)] * 300]

    requests = packed(parts, EVENT_LIMIT, Cut())

    assert [r.weight <= REQUEST_LIMIT for r in requests] == [True, True]
    assert requests == at_once(parts, EVENT_LIMIT, Cut())


def test_events_that_are_late_bring_all_of_them_into_order() -> None:
    parts = [[(NOW_MS + 5, "a"), (NOW_MS + 9, "b")], [(NOW_MS + 7, "late")]]

    [request] = packed(parts, EVENT_LIMIT, Cut())

    assert [e["message"] for e in json.loads(request.body)["logEvents"]] == ["a", "late", "b"]


def test_a_stream_without_events_makes_no_request() -> None:
    assert packed([[], []], EVENT_LIMIT, Cut()) == []


line_texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\x7f"), max_size=20),
    st.sampled_from(["%d", "x" * 1000, "y" * (REQUEST_LIMIT // 3), "z" * 300_000]),
)
line_batches = st.lists(st.tuples(st.lists(st.tuples(steps, line_texts), max_size=12), st.booleans()), max_size=6)


def lines_of(events: list[tuple[int, str]], filling: str | None) -> LineEvents:
    times = [t for t, _ in events]
    hole = "" if filling is None else f',"k":{HOLE.decode()}'
    text = "".join([f"{{{quoted(text)}{hole}}}\n" for _, text in events])
    return LineEvents(times, HoledLines(text.encode(), None if filling is None else filling.encode()))


def quoted(text: str) -> str:
    return f'"log":{json.dumps(text, ensure_ascii=False)}'


@given(line_batches, st.sampled_from([EVENT_LIMIT, 262_144, 500]))
@settings(max_examples=100, deadline=None)
def test_lines_give_the_same_requests_as_their_events(
    drawn: list[tuple[list[tuple[int, str]], bool]], limit: int
) -> None:
    now, filling = NOW_MS, '{"pod":"é%d"}'
    cut, other_cut, every = Cut(), Cut(), Events([], [], [])
    packer = Packer(STREAM, limit, cut)
    for part, is_holed in drawn:
        lines = lines_of([(now := now + step, text) for step, text in part], filling if is_holed else None)
        packer.add(lines)
        events = lines.events()
        every.times += events.times
        every.messages += events.messages
        every.sizes += [len(message.encode()) for message in events.messages]

    assert packer.finish() == requests_of(STREAM, every, limit, other_cut)
    assert cut == other_cut


def test_lines_and_other_events_may_follow_each_other() -> None:
    packer = Packer(STREAM, EVENT_LIMIT, Cut())
    packer.add(lines_of([(NOW_MS, "a")], None))
    packer.add(events_of([(NOW_MS + 1, "b")]))
    packer.add(lines_of([(NOW_MS + 2, "c")], '{"p":1}'))

    [request] = packer.finish()

    assert [e["message"] for e in json.loads(request.body)["logEvents"]] == [
        '{"log":"a"}',
        "b",
        '{"log":"c","k":{"p":1}}',
    ]
    assert request.size == sum(len(e["message"]) for e in json.loads(request.body)["logEvents"])
