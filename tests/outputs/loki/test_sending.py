"""What answers of Loki cost: no more than the entries they name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shipper.buffers.base import Delivery
from shipper.errors import Counts, RetryLater
from shipper.net.settings import HttpAnswer, NoAnswer
from shipper.record import Record, RecordBatch
from shipper.testing import ManualClock

from .making import MS, R1, R2, R3, T0, ScriptedHttp, Sending, batch, logs, says

BEHIND = (
    "entry with timestamp 2023-11-14 22:13:20 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: x,"
    " oldest acceptable timestamp is: y',\nuser 't', total ignored: 1 out of 3 for stream: {job=\"x\"}"
)
RATE = "ingestion rate limit exceeded for user t (limit: 1000000 bytes/sec) while attempting to ingest '1' lines"


async def test_entries_refused_for_their_time_are_counted_and_the_others_are_done() -> None:
    sending = Sending(ScriptedHttp(says(400, BEHIND)), "labels job=x\nlate_label off")
    delivery = await sending.send(logs("a", "b", "c"))

    assert len(sending.http.sent) == 1
    assert (delivery.accepted, delivery.refused_records) == (2, 1)
    assert list(delivery.refused) == ["too_far_behind"]


async def test_entries_too_far_behind_their_stream_go_to_one_of_their_own_by_their_tag() -> None:
    sending = Sending(ScriptedHttp(says(400, BEHIND.replace("1 out of", "2 out of"))))
    delivery = await sending.send(logs("a", tag="one"), logs("b", "c", tag="two", first_ns=T0 + 5 * MS))

    again = [stream for _, body in sending.http.sent[1:] for stream in body["streams"]]
    assert [(s["stream"], [v[1] for v in s["values"]]) for s in again] == [
        ({"job": "x", "late": "one"}, ['{"log":"a"}']),
        ({"job": "x", "late": "two"}, ['{"log":"b"}']),
    ]
    assert (delivery.accepted, delivery.refused_records) == (3, 0)
    assert sending.context.metrics.total("output_late_records_total") == 2


async def test_entries_that_are_late_in_their_own_stream_too_are_refused() -> None:
    again = BEHIND.replace('{job="x"}', '{job="x", late="app.web"}').replace("out of 3", "out of 1")
    sending = Sending(ScriptedHttp(says(400, BEHIND), says(400, again)))
    delivery = await sending.send(logs("a", "b", "c"))

    assert len(sending.http.sent) == 2
    assert (delivery.accepted, delivery.refused_records) == (2, 1)


async def test_a_stream_that_can_have_no_further_label_loses_what_is_late() -> None:
    options = "labels " + ",".join(f"l{n}=x" for n in range(15))
    behind = BEHIND.replace('{job="x"}', "{" + ", ".join(f'l{n}=\\"x\\"' for n in range(15)) + "}").replace('\\"', '"')
    too_many = "stream '{}' has 16 label names; limit 15"
    sending = Sending(ScriptedHttp(says(400, behind), says(400, too_many), says(400, behind)), options)
    delivery = await sending.send(logs("a", "b", "c"))

    assert len(sending.http.sent) == 3
    assert (delivery.accepted, delivery.refused_records) == (2, 1)


async def test_entries_older_than_the_server_accepts_are_all_counted() -> None:
    text = (
        "entry for stream '{job=\"x\"}' has timestamp too old: x, oldest acceptable timestamp is: 2023-11-14T22:13:21Z"
    )
    sending = Sending(ScriptedHttp(says(400, text)))
    delivery = await sending.send(logs("a", "b"), logs("c", first_ns=T0 + 5000 * MS))

    assert (delivery.accepted, delivery.refused) == (1, {"too_old": [2, delivery.share(2)]})


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (BEHIND, ["a"]),
        (BEHIND.replace("22:13:20 ", "22:13:20.002 "), ["b"]),
        (BEHIND.replace("1 out of", "2 out of").replace("22:13:20 ", "22:13:20.003 "), ["c", "a"]),
        (BEHIND.replace("1 out of", "9 out of"), ["a", "b", "c"]),
        ("entry for stream '{job=\"x\"}' has timestamp too new: x", ["c"]),
        ("entry for stream '{job=\"x\"}' has timestamp too old: x", ["a"]),
    ],
)
async def test_refused_entries_are_those_that_are_named_then_the_oldest_or_the_newest(
    text: str, refused: list[str]
) -> None:
    sending = Sending(ScriptedHttp(says(400, text)), "labels job=x\nlate_label off")
    delivery = await sending.send(logs("a", "b"), logs("c", first_ns=T0 + 3 * MS))
    [refusal] = delivery.refusals

    assert [record.body["log"] for _, record in refusal.which()] == refused
    assert refusal.status == "400"
    assert " ".join(text.split()) == refusal.message


async def test_of_several_streams_entries_of_the_named_one_are_refused() -> None:
    # The streams go one by one when one of them was behind, because an answer tells nothing of the others.
    script = says(400, BEHIND), says(204), says(400, BEHIND.replace("out of 3", "out of 2"))
    sending = Sending(ScriptedHttp(*script), "labels job=$job\nlate_label off")
    later = batch({"job": "x", "n": 1}, first_ns=T0 + 9 * MS)
    delivery = await sending.send(batch({"job": "y"}, {"job": "x"}, {"job": "z"}), later)
    [refusal] = delivery.refusals

    assert [record.body for _, record in refusal.which()] == [{"job": "x"}]


async def test_what_one_tenant_has_not_taken_is_known_by_rows() -> None:
    sending = Sending(ScriptedHttp(says(204), says(401, "no")), "labels job=x\ntenant_id_key $t")
    batches = (
        batch({"t": "a", "n": 0}, {"t": "b", "n": 1}, {"t": "a", "n": 2}),
        batch({"t": "a", "n": 3}),
        batch({"t": "b"}),
    )
    delivery = Delivery("", batches)
    with pytest.raises(RetryLater):
        await sending.output.send(delivery)
    taken = sending.http.sent[0][0]
    left = [[1], [], [0]] if taken == "a" else [[0, 2], [0], []]

    assert sending.output.left(delivery) == left
    assert delivery.accepted == 5 - sum(map(len, left))


async def test_a_tenant_over_its_rate_waits_and_no_retry_is_counted() -> None:
    clock = ManualClock()
    sending = Sending(ScriptedHttp(says(429, RATE), says(429, RATE)), clock=clock)
    task = asyncio.create_task(sending.send(logs("a", "b", "c", "d")))
    await clock.advance(0.001)
    sent_at_once = len(sending.http.sent)
    await clock.advance(1.0)
    delivery = await task

    assert sent_at_once == 1
    assert (delivery.accepted, delivery.attempts, delivery.refused_records) == (4, 0, 0)
    assert [line for lines in sending.http.lines[2:] for line in lines] == [f'{{"log":"{c}"}}' for c in "abcd"]


async def test_a_rate_limit_rests_as_long_as_the_server_wishes() -> None:
    clock = ManualClock()
    sending = Sending(ScriptedHttp(says(429, "slow down", retry_after="5")), clock=clock)
    task = asyncio.create_task(sending.send(logs("a")))
    await clock.advance(4.9)
    sent_before = len(sending.http.sent)
    await clock.advance(0.2)
    await task

    assert (sent_before, len(sending.http.sent)) == (1, 2)


async def test_a_rest_that_is_too_long_gives_the_delivery_back() -> None:
    sending = Sending(ScriptedHttp(says(429, "slow down", retry_after="600")), clock=ManualClock())
    with pytest.raises(RetryLater) as failure:
        await sending.send(logs("a"))

    assert (failure.value.after, failure.value.counts) == (600, Counts.NEVER)


@pytest.mark.parametrize("wish", ["0", "0.0", "Thu, 01 Jan 1970 00:00:00 GMT", "Tue, 14 Nov 2023 22:13:20 GMT"])
@pytest.mark.parametrize("text", ["slow down", RATE, "Per stream rate limit exceeded (limit: 3MB/sec) for stream '{}'"])
async def test_k3_a_wish_for_no_rest_at_all_makes_no_loop_without_a_pause(text: str, wish: str) -> None:
    clock = ManualClock(T0 + 3600 * 10**9)
    sending = Sending(ScriptedHttp(*[says(429, text, retry_after=wish)] * 500), clock=clock)
    task = asyncio.create_task(sending.send(logs("a")))
    await clock.advance(0)
    sent_at_once = len(sending.http.sent)
    await clock.advance(10.0)
    sent = len(sending.http.sent)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert sent_at_once == 1
    assert sent <= 1 + 10 / 0.05


async def test_a_wish_for_a_rest_counts_up_to_the_longest_wait_and_also_when_the_rate_has_been_forgotten() -> None:
    clock = ManualClock()
    sending = Sending(ScriptedHttp(says(429, "slow down", retry_after="86400")), clock=clock)
    cap = float(sending.context.service.scheduler_cap)
    waits = []
    for _ in range(4):
        with pytest.raises(RetryLater) as failure:
            await sending.send(logs("a"))
        waits.append(failure.value.after)
        await clock.advance(100)
    sent_before = len(sending.http.sent)
    await clock.advance(cap - 400)
    await sending.send(logs("b"))

    assert waits == pytest.approx([cap, cap - 100, cap - 200, cap - 300], abs=1)
    assert (sent_before, len(sending.http.sent)) == (1, 2)


async def test_of_streams_only_the_one_over_its_rate_is_sent_again() -> None:
    clock = ManualClock()
    text = "Per stream rate limit exceeded (limit: 3MB/sec) while attempting to ingest for stream '{s=\"b\"}' totaling"
    sending = Sending(ScriptedHttp(says(429, text)), "labels s=$s", clock)
    task = asyncio.create_task(sending.send(batch({"s": "a", "log": "1"}, {"s": "b", "log": "2"}, {"s": "c"})))
    await clock.advance(2.0)
    delivery = await task

    assert [s["stream"] for s in sending.http.sent[1][1]["streams"]] == [{"s": "b"}]
    assert delivery.accepted == 3


def too_fast(stream: str, **headers: str) -> HttpAnswer:
    text = f"Per stream rate limit exceeded (limit: 3MB/sec) while attempting to ingest for stream '{{s=\"{stream}\"}}'"
    return says(429, text, **headers)


def streams_sent(sending: Sending) -> list[list[str]]:
    """The streams of each request."""
    return [[s["stream"]["s"] for s in body["streams"]] for _, body in sending.http.sent]


def large(stream: str) -> RecordBatch:
    """Entries of one stream that fill a request."""
    return batch(*[{"s": stream, "log": "x" * 10_000}] * 90)


async def finished(task: asyncio.Task[Delivery], clock: ManualClock) -> Delivery:
    """What a task gives that waits for the clock, in less than five minutes of it."""
    for _ in range(300):
        if task.done():
            break
        await clock.advance(1)
    assert task.done()
    return task.result()


async def test_a_stream_over_its_rate_holds_up_no_other() -> None:
    clock = ManualClock()
    sending = Sending(ScriptedHttp(too_fast("a", retry_after="20")), "labels s=$s", clock)
    task = asyncio.create_task(sending.send(large("a"), large("b"), large("c"), large("a")))
    await clock.advance(0.001)
    at_once = streams_sent(sending)
    await clock.advance(19.9)
    before = len(sending.http.sent)
    delivery = await finished(task, clock)

    assert at_once == [["a"], ["b"], ["c"]]
    assert before == 3
    assert streams_sent(sending)[3:] == [["a"], ["a"]]
    assert (delivery.accepted, delivery.refused_records) == (360, 0)


async def test_each_stream_rests_as_long_as_the_server_wishes_for_it() -> None:
    clock = ManualClock()
    http = ScriptedHttp(too_fast("a", retry_after="20"), too_fast("b", retry_after="5"))
    sending = Sending(http, "labels s=$s", clock)
    times: list[tuple[str, float]] = []
    task = asyncio.create_task(sending.send(large("a"), large("b"), large("c")))
    for _ in range(250):
        await clock.advance(0.1)
        times += [(names[0], clock.monotonic()) for names in streams_sent(sending)[len(times) :]]
    assert task.done()

    assert [name for name, _ in times] == ["a", "b", "c", "b", "a"]
    assert times[2][1] < 0.2
    assert times[3][1] == pytest.approx(5, abs=0.3)
    assert times[4][1] == pytest.approx(20, abs=0.3)


async def test_streams_of_one_request_part_ways_when_one_of_them_must_wait() -> None:
    clock = ManualClock()
    sending = Sending(ScriptedHttp(too_fast("a", retry_after="10")), "labels s=$s", clock)
    first = asyncio.create_task(sending.send(batch({"s": "a", "log": "1"}, {"s": "b", "log": "2"})))
    await clock.advance(0.001)
    second = asyncio.create_task(sending.send(batch({"s": "a", "log": "3"}, {"s": "b", "log": "4"})))
    await clock.advance(0.001)
    at_once = streams_sent(sending)
    accepted = [(await finished(task, clock)).accepted for task in (first, second)]

    assert at_once == [["a", "b"], ["b"]]
    assert sorted(streams_sent(sending)[2:]) == [["a"], ["a"]]
    assert accepted == [2, 2]


async def test_a_stream_that_rests_too_long_is_all_that_is_given_back() -> None:
    clock = ManualClock()
    sending = Sending(ScriptedHttp(too_fast("a", retry_after="600")), "labels s=$s", clock)
    delivery = Delivery("", [large("a"), large("b")])
    with pytest.raises(RetryLater) as failure:
        await sending.output.send(delivery)
    given_back = streams_sent(sending)
    await clock.advance(601)
    task = asyncio.create_task(sending.output.send(delivery))
    for _ in range(5):
        await clock.advance(1)

    assert task.done()
    assert failure.value.after == pytest.approx(600, abs=1)
    assert given_back == [["a"], ["b"]]
    assert streams_sent(sending)[2:] == [["a"]]
    assert delivery.accepted == 180


async def test_only_the_tenant_that_failed_is_sent_again() -> None:
    class SecondFails(ScriptedHttp):
        async def request(self, method: str, target: str, headers: Any, body: bytes = b"") -> Any:
            answer = await super().request(method, target, headers, body)
            return says(500, "no") if headers["X-Scope-OrgID"] == "t2" and len(self.sent) <= 2 else answer

    sending = Sending(SecondFails(), "labels job=x\ntenant_id_key tenant")
    records = batch(R1, R2, R3)
    delivery = Delivery("", [records])
    with pytest.raises(RetryLater):
        await sending.output.send(delivery)
    await sending.output.send(delivery)

    assert [tenant for tenant, _ in sending.http.sent] == ["t1", "t2", "t2"]
    assert delivery.accepted == 3


async def test_a_server_in_trouble_is_left_alone_for_as_long_as_it_wishes() -> None:
    sending = Sending(ScriptedHttp(says(503, "later", retry_after="7")))
    with pytest.raises(RetryLater) as failure:
        await sending.send(logs("a"))

    assert failure.value.after == 7


async def test_blocked_ingestion_is_tried_again_after_a_minute() -> None:
    sending = Sending(ScriptedHttp(says(260, "ingestion blocked for user t until x")))
    with pytest.raises(RetryLater) as failure:
        await sending.send(logs("a"))

    assert (failure.value.after, failure.value.counts) == (60, Counts.NEVER)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405])
async def test_what_a_setting_must_mend_is_held(status: int) -> None:
    sending = Sending(ScriptedHttp(says(status, "no org id")))
    with pytest.raises(RetryLater, match=f"status {status}: no org id") as failure:
        await sending.send(logs("a"))

    assert failure.value.counts is Counts.NEVER


async def test_a_page_of_a_proxy_costs_no_records() -> None:
    sending = Sending(ScriptedHttp(says(400, "<html>The plain HTTP request was sent to HTTPS port</html>")))
    with pytest.raises(RetryLater):
        await sending.send(logs("a"))


async def test_no_answer_is_counted_by_how_far_the_request_came() -> None:
    sending = Sending(ScriptedHttp(NoAnswer("dns", "cannot look up loki")))
    with pytest.raises(RetryLater, match="cannot look up loki"):
        await sending.send(logs("a"))

    assert sending.context.metrics.value("output_no_answer_total", name="loki.0", phase="dns") == 1


async def test_answers_are_counted_by_status() -> None:
    sending = Sending(ScriptedHttp(says(503), says(204)))
    with pytest.raises(RetryLater):
        await sending.send(logs("a"))
    await sending.send(logs("a"))

    assert sending.context.metrics.by_label("output_answers_total", "status") == {"503": 1, "204": 1}


async def test_a_line_that_is_too_long_is_cut_and_sent_alone() -> None:
    text = "Max entry size '40' bytes exceeded for stream '{job=\"x\"}' while adding an entry with length '99' bytes"
    sending = Sending(ScriptedHttp(says(400, text)), "labels job=x\ndrop_single_key raw")
    delivery = await sending.send(logs("a", "é" * 50, "b"))

    assert sending.http.lines[1:] == [["é" * 17 + " [cut]"]]
    assert (delivery.accepted, delivery.refused_records) == (3, 0)


async def test_a_line_that_is_too_long_is_cut_though_the_answer_tells_of_late_ones_only() -> None:
    too_long = "Max entry size '262144' bytes exceeded for stream '{job=\"x\"}' while adding an entry"
    script = says(400, BEHIND), says(400, BEHIND.replace("out of 3", "out of 2")), says(204), says(400, too_long)
    sending = Sending(ScriptedHttp(*script), "labels job=x\ndrop_single_key raw")
    delivery = await sending.send(logs("late", "x" * 300_000, "new"))

    lines = [[line[:4] for line in request] for request in sending.http.lines]
    assert lines == [["late", "xxxx", "new"], ["late", "new"], ["late"], ["xxxx"], ["xxxx"]]
    assert [len(request[0]) for request in sending.http.lines[3:]] == [300_000, 262_144]
    assert (delivery.accepted, delivery.refused_records) == (3, 0)


async def test_a_line_that_is_too_long_is_dropped_if_asked_for() -> None:
    text = "Max entry size '40' bytes exceeded for stream '{job=\"x\"}' while adding an entry with length '99' bytes"
    sending = Sending(ScriptedHttp(says(400, text)), "labels job=x\nline_too_long drop")
    delivery = await sending.send(logs("a", "b" * 50, "c"))

    assert len(sending.http.sent) == 1
    assert (delivery.accepted, {k: v[0] for k, v in delivery.refused.items()}) == (2, {"line_too_long": 1})


async def test_a_limit_that_no_line_is_above_makes_nothing_delivered() -> None:
    class TakesNothing(ScriptedHttp):
        async def request(self, method: str, target: str, headers: Any, body: bytes = b"") -> Any:
            await super().request(method, target, headers, body)
            return says(400, "max entry size '0' bytes exceeded for stream '{job=\"x\"}' while adding an entry")

    sending = Sending(TakesNothing(), "labels job=x\ndrop_single_key raw")
    delivery = await sending.send(logs("a", "b"))

    assert sending.http.lines == [["a", "b"], ["a"], ["b"]]
    assert (delivery.accepted, delivery.refused_records) == (0, 2)


async def test_labels_that_are_too_many_become_structured_metadata() -> None:
    text = 'entry for stream \'{a="1", b="2", c="3", service_name="x"}\' has 3 label names; limit 2'
    sending = Sending(ScriptedHttp(says(400, text)), "labels a=1, b=2, c=$c")
    delivery = await sending.send(batch({"c": "3", "log": "x"}))
    await sending.send(batch({"c": "3", "log": "y"}))

    (stream,) = sending.http.sent[1][1]["streams"]
    assert (stream["stream"], stream["values"][0][2]) == ({"a": "1", "b": "2"}, {"c": "3"})
    assert sending.http.sent[2][1]["streams"][0]["stream"] == {"a": "1", "b": "2"}
    assert (delivery.accepted, delivery.refused_records) == (1, 0)


async def test_a_stream_whose_labels_are_refused_costs_that_stream_only() -> None:
    text = "error parsing labels '{s=\"b\"}' with error: parse error"
    sending = Sending(ScriptedHttp(says(400, text)), "labels s=$s")
    delivery = await sending.send(batch({"s": "a", "log": "1"}, {"s": "b", "log": "2"}))

    assert (delivery.accepted, {k: v[0] for k, v in delivery.refused.items()}) == (1, {"bad_labels": 1})


async def test_what_is_unreadable_is_found_by_sending_halves() -> None:
    class RefusesBad(ScriptedHttp):
        async def request(self, method: str, target: str, headers: Any, body: bytes = b"") -> Any:
            answer = await super().request(method, target, headers, body)
            return says(400, "couldn't parse") if b"bad" in body else answer

    sending = Sending(RefusesBad())
    delivery = await sending.send(logs(*[f"l{n}" for n in range(20)], "bad", *[f"m{n}" for n in range(20)]))

    assert (delivery.accepted, delivery.refused_records) == (40, 1)
    assert len(sending.http.sent) < 15


async def test_a_request_that_is_too_large_goes_in_halves() -> None:
    sending = Sending(ScriptedHttp(says(500, "rpc error: received message larger than max (5000000 vs. 4194304)")))
    delivery = await sending.send(logs("a", "b", "c", "d"))

    assert [len(lines) for lines in sending.http.lines] == [4, 2, 2]
    assert delivery.accepted == 4


async def test_metadata_that_are_not_taken_are_left_out() -> None:
    text = "stream '{job=\"x\"}' includes structured metadata, but this feature is disallowed. Please see limits"
    sending = Sending(ScriptedHttp(says(400, text)), "labels job=x\nstructured_metadata $m")
    delivery = await sending.send(batch({"m": "1", "log": "a"}, {"log": "b"}))

    assert sending.http.lines[1:] == [['{"log":"a"}']]
    assert len(sending.http.sent[1][1]["streams"][0]["values"][0]) == 2
    assert delivery.accepted == 2


async def test_a_stream_that_is_one_too_many_goes_into_another() -> None:
    text = 'Maximum active stream limit exceeded when trying to create stream {job="x", id="2"}, reduce the number'
    sending = Sending(ScriptedHttp(says(204), says(429, text)), "labels job=x, id=$id")
    await sending.send(batch({"id": "1", "log": "a"}))
    delivery = await sending.send(batch({"id": "2", "log": "b"}))

    (stream,) = sending.http.sent[2][1]["streams"]
    assert stream["values"][0][1] == '{"log":"b"}'
    assert (stream["stream"], stream["values"][0][2]["id"]) in [({"job": "x"}, "2"), ({"job": "fluent-bit"}, "2")]
    assert delivery.accepted == 1


async def test_what_is_sent_again_has_the_same_bytes() -> None:
    sending = Sending(ScriptedHttp(NoAnswer("answer", "cut")), "labels job=x, s=$s")
    records = batch({"s": "a", "log": "1"}, {"s": "b", "log": "2"})
    delivery = Delivery("", [records])
    with pytest.raises(RetryLater):
        await sending.output.send(delivery)
    await sending.output.send(delivery)

    assert sending.http.sent[0] == sending.http.sent[1]


async def test_entries_of_a_stream_are_sent_in_order_of_time() -> None:
    sending = Sending(ScriptedHttp())
    late = RecordBatch("a", [Record(T0 + 9, {"log": "9"}), Record(T0 + 3, {"log": "3"})], 10)
    early = RecordBatch("a", [Record(T0 + 3, {"log": "3b"}), Record(T0 + 1, {"log": "1"})], 10)
    await sending.send(late, early)

    assert sending.http.lines == [['{"log":"1"}', '{"log":"3"}', '{"log":"3b"}', '{"log":"9"}']]


async def test_requests_hold_about_a_mebibyte_of_lines() -> None:
    sending = Sending(ScriptedHttp())
    delivery = await sending.send(logs(*["x" * 10_000] * 250))

    assert [sum(map(len, lines)) < 1_100_000 for lines in sending.http.lines] == [True] * 3
    assert delivery.accepted == 250
