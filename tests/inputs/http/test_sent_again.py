"""http: a destination that is away, and what clients send again because of that."""

from __future__ import annotations

import pytest

from shipper.inputs.http.input import HttpInput
from shipper.record import RecordBatch

from ..listening.running import PATIENCE_S, Running, connected, ended
from .asking import answer_of, asked, request


async def test_a_destination_that_is_away_is_told_and_nothing_else_is_taken() -> None:
    async with Running(HttpInput, settling="later") as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        late, other = await asked(http, request(), request(b'{"b":1}'))
        taken = len(http.records)
        http.settle()
        reader, writer = await connected(http.port)
        writer.write(request(b'{"b":1}'))
        await http.until_records(2)
        http.settle()

        assert (late[0], other[0], taken) == (503, 503, 1)
        assert in_doubt(http) == 1
        assert late[1]["retry-after"] == "5"
        assert (await answer_of(reader))[0] == 201
        await ended(writer)


async def test_what_comes_again_because_it_took_too_long_is_answered_for_and_not_taken_twice() -> None:
    async with Running(HttpInput, settling="later") as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        early = await asked(http, request(), request())
        http.input.answer_within_s = PATIENCE_S  # type: ignore[attr-defined]
        reader, writer = await connected(http.port)
        writer.write(request())
        await http.until(lambda: repeated(http) == 2)
        http.settle()

        assert [status for status, _, _ in early] == [503, 503]
        assert (await answer_of(reader))[0] == 201
        assert http.bodies == [{"a": 1}]
        assert in_doubt(http) == 1
        await ended(writer)


async def test_what_comes_again_after_it_became_safe_is_answered_at_once_and_what_is_equal_after_that_is_new() -> None:
    async with Running(HttpInput, settling="later") as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        (late,) = await asked(http, request())
        http.settle()
        (again,) = await asked(http, request())
        taken = len(http.records)
        http.input.answer_within_s = PATIENCE_S  # type: ignore[attr-defined]
        reader, writer = await connected(http.port)
        writer.write(request())
        await http.until_records(2)
        http.settle()

        assert (late[0], again[0], taken) == (503, 201, 1)
        assert (await answer_of(reader))[0] == 201
        await ended(writer)


async def test_equal_requests_of_two_clients_are_both_remembered() -> None:
    async with Running(HttpInput, settling="later") as http:
        http.input.answer_within_s = 0.5  # type: ignore[attr-defined]
        pairs = [await connected(http.port) for _ in range(2)]
        for _, writer in pairs:
            writer.write(request())
        late = [(await answer_of(reader))[0] for reader, _ in pairs]
        taken = len(http.records)
        http.settle()
        answers = await asked(http, request(), request())

        if taken == 2:  # else a slow machine has answered the first before the second came
            assert late == [503, 503]
            assert [status for status, _, _ in answers] == [201, 201]
            assert len(http.records) == 2
        for _, writer in pairs:
            await ended(writer)


@pytest.mark.parametrize(
    "other",
    [
        request(b'{"a":2}'),
        request(target="/other"),
        request(more="X-Forwarded-For: 10.0.0.9\r\n"),
    ],
    ids=["content", "target", "client"],
)
async def test_another_request_is_not_taken_for_one_that_comes_again(other: bytes) -> None:
    async with Running(HttpInput, settling="later") as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        (late,) = await asked(http, request())
        http.settle()
        http.input.answer_within_s = PATIENCE_S  # type: ignore[attr-defined]
        reader, writer = await connected(http.port)
        writer.write(other)
        await http.until_records(2)
        http.settle()

        assert (late[0], (await answer_of(reader))[0], repeated(http)) == (503, 201, 0)
        await ended(writer)


@pytest.mark.parametrize("becomes_safe", [True, False])
async def test_after_a_reload_too_what_comes_again_is_taken_only_if_it_was_not_safe(becomes_safe: bool) -> None:
    async with Running(HttpInput, settling="later") as before:
        before.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        (late,) = await asked(before, request())
        if becomes_safe:
            before.settle()
    left = before.input.handed_over()
    after = Running(HttpInput)
    after.input.go_on_from({} if left is None else dict([left]))
    async with after:
        again, new = await asked(after, request(), request())

        assert (late[0], again[0], new[0]) == (503, 201, 201)
        assert repeated(after) == (1 if becomes_safe else 0)
        assert after.bodies == [{"a": 1}] * (1 if becomes_safe else 2)


def repeated(http: Running) -> int:
    """Records that came again and were not taken again."""
    return http.context.metrics.total("input_repeated_records_total")


class HalfFull(Running):
    """Buffers that have room for one batch more, until `has_room` is set."""

    has_room = False

    async def _emit(self, batch: RecordBatch) -> None:
        if self.batches and not self.has_room:
            self.gate.clear()
        await super()._emit(batch)


async def test_of_a_request_that_is_taken_by_half_the_other_half_is_taken_when_it_comes_again() -> None:
    async with HalfFull(HttpInput, "tag_key t", settling="later") as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        sent = request(b'[{"t":"a"},{"t":"a"},{"t":"b"}]')
        late, again = await asked(http, sent, sent)
        taken = [(batch.tag, len(batch)) for batch in http.batches]
        http.settle()
        http.gate.set()
        http.has_room, http.input.answer_within_s = True, PATIENCE_S  # type: ignore[attr-defined]
        reader, writer = await connected(http.port)
        writer.write(sent)
        await http.until_records(3)
        http.settle()

        assert (late[0], again[0], taken) == (503, 503, [("a", 2)])
        assert [(batch.tag, len(batch)) for batch in http.batches] == [("a", 2), ("b", 1)]
        assert in_doubt(http) == 2
        assert (await answer_of(reader))[0] == 201
        await ended(writer)


def in_doubt(http: Running) -> int:
    """Records that were taken though their clients were told to send them again."""
    return http.context.metrics.total("input_in_doubt_records_total")


async def test_nothing_is_taken_of_a_request_that_finds_no_room_in_time() -> None:
    async with Running(HttpInput) as http:
        http.input.answer_within_s = 0.05  # type: ignore[attr-defined]
        http.gate.clear()
        (refusal,) = await asked(http, request())
        http.gate.set()
        (success,) = await asked(http, request())

        assert (refusal[0], success[0]) == (503, 201)
        assert len(http.records) == 1
        assert in_doubt(http) == 0
