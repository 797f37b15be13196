"""Users' rows C1 to C9 and A3: what CloudWatch Logs refuses, limits or takes in part costs no record and no order."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.components.sink import MOST_BYTES, Event, Refused, check_put

from .cloudwatch import CREDENTIALS, OK, Answer, CloudWatch
from .harness import Log
from .storing import Station
from .test_monitoring import QUICK, RED_S, Api

DAY_S = 24 * 3600

BUSY_S = 3.0
"""What a busy machine takes."""

STAMPED = """
[PARSER]
    name stamped
    format regex
    regex ^(?<time>[0-9]+) (?<log>.*)$
    time_key time
    time_format %s
"""

NAMED = """
[PARSER]
    name named
    format regex
    regex ^(?<name>[^ ]+) (?<log>.*)$
"""

BY_NAME = """
[FILTER]
    name parser
    match *
    key_name log
    parser named
"""


def station_for(folder: Path, cloudwatch: CloudWatch, output: str = "", **others: Any) -> Station:
    """A shipper that sends there; `output` is one more line of its section."""
    sections = others.pop("sections", "") + cloudwatch.output(output)
    return Station(folder, (), sections=sections, variables=CREDENTIALS, **others)


def with_parser(folder: Path, text: str) -> str:
    """The line of the service section that brings a parser along."""
    path = folder / "parsers.conf"
    path.write_text(text)
    return f"parsers_file {path}"


class Rules:
    """Decides as the real service does: a put that breaks a rule is refused, and noted in `broken`."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def __call__(self, operation: str, body: dict[str, Any]) -> Answer:
        if operation == "PutLogEvents":
            try:
                check_put(msgspec.convert(body["logEvents"], list[Event]))
            except Refused as refusal:
                self.broken.append(str(refusal))
                return Answer(refusal.status, refusal.code, refusal.text)
        return OK


def until_taken(station: Station, service: CloudWatch, count: int) -> None:
    station.until(lambda: len(service.all_messages()) >= count)


# -- refused for a while, or for ever ----------------------------------------------------------------------------------


def test_c1_what_was_accepted_beside_a_throttled_request_is_not_sent_again(tmp_path: Path) -> None:
    """A delivery has requests for six streams."""
    calls = Counter[str]()

    def every_third(operation: str, body: dict[str, Any]) -> Answer:
        calls[operation] += 1
        if operation == "PutLogEvents" and calls[operation] % 3 == 0:
            return Answer(400, "ThrottlingException", "Rate exceeded")
        return OK

    with CloudWatch(every_third) as service:
        station = station_for(
            tmp_path, service, "log_stream_template $name", sections=BY_NAME, service=with_parser(tmp_path, NAMED)
        )
        with station:
            station.start()
            text = "".join(f"stream{n % 6} {n}\n" for n in range(6000))
            (tmp_path / "var" / "app.log").write_text(text)
            until_taken(station, service, 6000)
            ledger = station.stop()

            assert calls["PutLogEvents"] >= 8  # six that were accepted, and those that were not
            assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (6000, 0)
            for one in range(6):
                assert service.messages[f"stream{one}"] == [str(n) for n in range(one, 6000, 6)]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameterException", "1 validation error detected: Value at 'logStreamName' failed"),
        ("ResourceNotFoundException", "The specified log stream does not exist."),
        ("InvalidSequenceTokenException", "The given sequenceToken is invalid."),
        ("AccessDeniedException", "not authorized to perform: logs:PutLogEvents"),
    ],
)
def test_c2_one_stream_of_fifty_that_is_always_refused_holds_up_no_other(
    tmp_path: Path, code: str, message: str
) -> None:
    def refuse_one(operation: str, body: dict[str, Any]) -> Answer:
        if operation == "PutLogEvents" and body["logStreamName"].endswith(".app00.log"):
            return Answer(400, code, message)
        return OK

    with CloudWatch(refuse_one) as service, station_for(tmp_path, service) as station:
        logs = [station.log(f"app{number:02}") for number in range(50)]
        station.start()
        for log in logs:
            log.write(10)
        until_taken(station, service, 49 * 10)
        delays = []
        for _ in range(3):
            for log in logs:
                log.write(10)
            wanted = 49 * logs[0].written
            delays.append(station.until(lambda wanted=wanted: len(service.all_messages()) >= wanted))  # type: ignore[misc]
        service.decide = lambda operation, body: OK
        until_taken(station, service, 50 * logs[0].written)
        station.stop()

        assert max(delays) < 5
        assert_each_in_its_stream(service, logs)


def assert_each_in_its_stream(service: CloudWatch, logs: list[Log]) -> None:
    """Each log is in one stream, whole, once and in its order."""
    for log in logs:
        (stream,) = (name for name in service.messages if name.endswith(f".{log.path.name}"))
        assert service.messages[stream] == log.path.read_text().splitlines()


def test_a3_the_action_that_is_missing_is_named_and_nothing_is_lost_once_it_is_allowed(tmp_path: Path) -> None:
    """What the service answers names neither the action nor the group, so that we have to."""
    denied = Answer(400, "AccessDeniedException", "no policy of the caller allows this")

    def deny_puts(operation: str, body: dict[str, Any]) -> Answer:
        return denied if operation == "PutLogEvents" else OK

    with CloudWatch(deny_puts) as service, station_for(tmp_path, service, service=QUICK) as station:
        log = station.log()
        station.start()
        api = Api(station)
        log.write(50)
        station.until_told(r"not allowed: logs:PutLogEvents on log group g; records are held until it is allowed")
        api.until_health(500, RED_S)
        reason = api.get("/api/v1/health")[1]
        held = api.json("/health")["outputs"]["cw"]["held_records"]
        service.decide = lambda operation, body: OK
        until_taken(station, service, 50)
        ledger = station.stop()

        assert "logs:PutLogEvents on log group g" in reason
        assert held == 50
        assert service.all_messages() == log.path.read_text().splitlines()
        assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (50, 0)


# -- a service that takes its time -------------------------------------------------------------------------------------


def slow(operation: str, body: dict[str, Any]) -> Answer:
    """A service that answers after 50 ms."""
    return Answer(delay_s=0.05)


def on_one_core(station: Station) -> None:
    """Hold all threads of the shipper to the first core that it may use.

    Row C3 asks for half a vCPU; a vCPU is a hardware thread, so this is twice as much.
    """
    tasks = Path(f"/proc/{station.shipper.check().pid}/task")
    core = min(os.sched_getaffinity(0))
    for task in tasks.iterdir():
        os.sched_setaffinity(int(task.name), {core})


def ship_at(folder: Path, megabytes_per_second: float, seconds: float, streams: int) -> None:
    """Write at this rate for so long, in ticks of 20 ms; everything arrives, in order, and not much later."""
    with CloudWatch(slow) as service, station_for(folder, service) as station:
        logs = [station.log(f"app{number}") for number in range(streams)]
        station.start()
        on_one_core(station)
        line_bytes = logs[0].write(1000) / 1000
        count = int(megabytes_per_second * 20_000 / line_bytes)
        pieces = [logs[n % streams].next_lines(count) for n in range(int(seconds * 50))]  # writing is to take no time
        files = [log.path.open("ab", buffering=0) for log in logs]
        begun = time.monotonic()
        for number, piece in enumerate(pieces):
            time.sleep(max(0.0, begun + number / 50 - time.monotonic()))
            files[number % streams].write(piece)
        wrote_s = time.monotonic() - begun
        for file in files:
            file.close()
        written = sum(log.written for log in logs)
        caught_up_s = station.until(lambda: sum(count for _, count in service.accepted_at) >= written)
        ledger = station.stop()

        assert_each_in_its_stream(service, logs)
        assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (written, 0)
        assert (wrote_s < 1.5 * seconds, caught_up_s < 10) == (True, True)


def test_c3_at_three_megabytes_a_second_nothing_is_missing(tmp_path: Path) -> None:
    """One stream, and one core for the shipper, for 3 seconds."""
    ship_at(tmp_path, 3, 3, streams=1)


@pytest.mark.soak
@pytest.mark.parametrize(("megabytes_per_second", "streams"), [(3, 1), (5, 1), (10, 4)])
def test_c3_at_any_rate_nothing_is_missing(tmp_path: Path, megabytes_per_second: int, streams: int) -> None:
    """One core for the shipper, for 10 seconds. A stream takes one request at a time, 5 MB/s with these answers."""
    ship_at(tmp_path, megabytes_per_second, 10, streams)


# -- rules of the service ----------------------------------------------------------------------------------------------


def test_c4_a_backlog_of_three_days_in_any_order_breaks_no_rule(tmp_path: Path) -> None:
    rules, rng, now = Rules(), random.Random(4), int(time.time())
    stamps = [now - rng.randrange(3 * DAY_S) for _ in range(30_000)]
    more = with_parser(tmp_path, STAMPED)
    with CloudWatch(rules) as service:
        station = station_for(tmp_path, service, service=more, tail="parser stamped")
        with station:
            station.start()
            text = "".join(f"{stamp} {number}\n" for number, stamp in enumerate(stamps))
            (tmp_path / "var" / "app.log").write_text(text)
            until_taken(station, service, len(stamps))
            ledger = station.stop()

            assert rules.broken == []
            assert sorted(map(int, service.all_messages())) == list(range(len(stamps)))
            assert ledger["cw"]["delivered"] == len(stamps)


class AgeRules:
    """Takes events up to 14 days old and 2 hours ahead, and tells of the others in an answer with 200.

    `seen` are the messages of all events that came, whether taken or not.
    """

    def __init__(self) -> None:
        self.now = int(time.time())
        self.seen: list[str] = []

    def __call__(self, operation: str, body: dict[str, Any]) -> Answer:
        events = body.get("logEvents", ())
        self.seen += [event["message"] for event in events]
        times = [event["timestamp"] // 1000 for event in events]
        first = sum(when < self.now - 14 * DAY_S for when in times)
        last = sum(when <= self.now + 2 * 3600 for when in times)
        info = {"tooOldLogEventEndIndex": first} if first else {}
        info |= {"tooNewLogEventStartIndex": last} if last < len(times) else {}
        return Answer(body={"rejectedLogEventsInfo": info} if info else {}, accepted=slice(first, last))

    def lines(self, numbers: range) -> str:
        """A line that is 15 days old, one 3 hours ahead and one of now for each number."""
        kinds = [(self.now - 15 * DAY_S, "old"), (self.now + 3 * 3600, "new"), (self.now, "good")]
        return "".join(f"{when} {kind} {n}\n" for n in numbers for when, kind in kinds)


def test_c5_rejected_events_are_counted_by_kind_and_the_good_ones_are_stored(tmp_path: Path) -> None:
    """Once the service has rejected some for their time, more of their kind do not get as far as there."""
    rules = AgeRules()
    more = f"{with_parser(tmp_path, STAMPED)}; storage.keep.rejected on"
    with CloudWatch(rules) as service:
        station = station_for(tmp_path, service, service=more, tail="parser stamped")
        with station:
            station.start()
            log = tmp_path / "var" / "app.log"
            log.write_text(rules.lines(range(100)))
            until_taken(station, service, 100)
            station.until_told("log events rejected.*reason=too_new")
            with log.open("a") as file:
                file.write(rules.lines(range(100, 150)))
            until_taken(station, service, 150)
            ledger = station.stop()
            lines = (station.storage / "rejected" / "cw" / "rejected.jsonl").read_bytes().splitlines()
            kept = [msgspec.json.decode(line) for line in lines]

            assert service.all_messages() == [f"good {n}" for n in range(150)]
            assert {"old 0", "new 0"} <= set(rules.seen)
            assert rules.seen[-50:] == [f"good {n}" for n in range(100, 150)]
            assert ledger["cw"]["delivered"] == 150
            assert (ledger["cw"]["dropped.too_old"], ledger["cw"]["dropped.too_new"]) == (150, 150)
            told = {line["record"]["log"]: line["message"] for line in kept}
            assert set(told) == {f"{kind} {n}" for kind in ("old", "new") for n in range(150)}
            assert (told["old 0"], told["new 0"]) == (
                "rejectedLogEventsInfo: too_old",
                "rejectedLogEventsInfo: too_new",
            )
            assert (told["old 149"], told["new 149"]) == (
                "not sent: older than 14 days",
                "not sent: more than 2 hours ahead",
            )


def test_c5_with_clamp_time_every_event_is_stored(tmp_path: Path) -> None:
    rules = AgeRules()
    with CloudWatch(rules) as service:
        station = station_for(
            tmp_path, service, "clamp_time on", service=with_parser(tmp_path, STAMPED), tail="parser stamped"
        )
        with station:
            station.start()
            (tmp_path / "var" / "app.log").write_text(rules.lines(range(100)))
            until_taken(station, service, 300)
            ledger = station.stop()

            assert set(service.all_messages()) == {f"{kind} {n}" for kind in ("old", "new", "good") for n in range(100)}
            assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (300, 0)


def test_c6_events_of_the_largest_size_go_through_and_larger_ones_are_cut_exactly(tmp_path: Path) -> None:
    """An event weighs its UTF-8 bytes and 26 more; 1,048,576 is the most. A cut never divides a character."""
    most, rules = MOST_BYTES - 26, Rules()
    texts = [
        *("a" * (most - 1), "b" * most, "c" * (most + 1), "d" * 5 * 1_048_576),
        *("e" * (most - 4) + "😀", "f" * (most - 3) + "😀", "g" * (most - 1) + "😀", "😀" * (most // 4 + 10)),
    ]
    with CloudWatch(rules) as service:
        tail = "buffer_chunk_size 1M; buffer_max_size 8M; mem_buf_limit 50M"
        with station_for(tmp_path, service, tail=tail) as station:
            station.start()
            (tmp_path / "var" / "app.log").write_text("".join(f"{text}\n" for text in texts))
            until_taken(station, service, len(texts))
            ledger = station.stop()

            assert rules.broken == []
            assert service.all_messages() == [text.encode()[:most].decode(errors="ignore") for text in texts]
            assert ledger["cw"]["delivered"] == len(texts)


PART = re.compile(r"\[part=([0-9]+)/([0-9]+) id=([0-9a-f]{16})\] ")


def put_together(messages: list[str]) -> list[str]:
    """What the parts among the messages are parts of, and the other messages, in their order."""
    found: list[str] = []
    waiting: list[tuple[str, str]] = []
    for message in messages:
        part = PART.match(message)
        if part is None:
            found.append(message)
            continue
        number, count, id_ = int(part[1]), int(part[2]), part[3]
        assert [other for other, _ in waiting] == [id_] * (number - 1)
        waiting.append((id_, message[part.end() :]))
        if number == count:
            found.append("".join(text for _, text in waiting))
            waiting = []
    assert waiting == []
    return found


def test_c6_events_above_the_limit_come_in_parts_and_are_counted_as_one_record(tmp_path: Path) -> None:
    """Every third put is throttled, so parts are sent by several attempts."""
    most, rules, puts = MOST_BYTES - 26, Rules(), Counter[str]()
    texts = [
        *("a" * (most - 1), "b" * most, "c" * (most + 1), "d" * 5 * 1_048_576, "small"),
        *("e" * (most - 4) + "😀", "f" * (most - 3) + "😀", "g" * (most - 31) + "😀😀😀😀😀😀😀😀😀"),
    ]

    def every_third(operation: str, body: dict[str, Any]) -> Answer:
        puts[operation] += 1
        if operation == "PutLogEvents" and puts[operation] % 3 == 0:
            return Answer(400, "ThrottlingException", "Rate exceeded")
        return rules(operation, body)

    with CloudWatch(every_third) as service:
        tail = "buffer_chunk_size 1M; buffer_max_size 8M; mem_buf_limit 50M"
        with station_for(tmp_path, service, "on_oversize split", tail=tail) as station:
            station.start()
            (tmp_path / "var" / "app.log").write_text("".join(f"{text}\n" for text in texts))
            until_taken(station, service, 16)
            ledger = station.stop()

            assert rules.broken == []
            assert max(len(message.encode()) for message in service.all_messages()) == most
            assert put_together(service.all_messages()) == texts
            assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (len(texts), 0)


# -- the old protocol --------------------------------------------------------------------------------------------------


class TokenService:
    """The service of before 2023: each put must carry the token that the last answer for its stream gave.

    Every third put is stored and answered as one that had been accepted before.
    """

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.errors = Counter[str]()
        self._tokens: dict[str, str] = {}
        self._puts = 0

    def __call__(self, operation: str, body: dict[str, Any]) -> Answer:
        if operation != "PutLogEvents":
            return OK
        stream = body["logStreamName"]
        expected = self._tokens.setdefault(stream, "token-of-another-writer")
        if body.get("sequenceToken") != expected:
            return self._refused("InvalidSequenceTokenException", expected)
        self._puts += 1
        self.stored += [event["message"] for event in body["logEvents"]]
        token = self._tokens[stream] = f"token-{self._puts}"
        if self._puts % 3 == 0:
            return self._refused("DataAlreadyAcceptedException", token)
        return Answer(body={"nextSequenceToken": token})

    def _refused(self, code: str, token: str) -> Answer:
        self.errors[code] += 1
        return Answer(400, code, f"The next token is {token}", body={"expectedSequenceToken": token})


def test_c7_errors_of_sequence_tokens_stall_nothing(tmp_path: Path) -> None:
    with CloudWatch(tokens := TokenService()) as service, station_for(tmp_path, service) as station:
        log = station.log()
        station.start()
        for _ in range(9):
            log.write(50)
            station.until(lambda: len(tokens.stored) >= log.written)
        ledger = station.stop()

        assert station.told("failed to flush") is None  # each would be a wait of two seconds
        assert set(tokens.errors) == {"InvalidSequenceTokenException", "DataAlreadyAcceptedException"}
        assert tokens.stored == log.path.read_text().splitlines()
        assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (450, 0)


def test_c8_a_group_with_thousands_of_streams_and_answers_without_token_hinder_no_start(tmp_path: Path) -> None:
    """The streams are those that a listing would bring, page by page, a second each, without an end."""

    def old_group(operation: str, body: dict[str, Any]) -> Answer:
        if operation.startswith("Describe"):
            return Answer(delay_s=1.0, body={"logStreams": [], "nextToken": "more"})
        if operation == "CreateLogStream":
            return Answer(400, "ResourceAlreadyExistsException", "The specified log stream already exists")
        return OK

    with CloudWatch(old_group) as service, station_for(tmp_path, service) as station:
        log = station.log()
        station.start()
        log.write(100)
        started_s = station.until(lambda: len(service.all_messages()) >= 100)
        log.write(100)
        until_taken(station, service, 200)
        station.stop()

        assert started_s <= 2 + BUSY_S
        assert {operation for _, operation in service.attempts} == {"CreateLogStream", "PutLogEvents"}
        assert service.all_messages() == log.path.read_text().splitlines()


# -- many streams with little in each ----------------------------------------------------------------------------------


class Calls:
    """Takes everything and notes when each stream was called and when each message came."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.came: dict[str, float] = {}

    def __call__(self, operation: str, body: dict[str, Any]) -> Answer:
        if operation == "PutLogEvents":
            now = time.monotonic()
            self.times.setdefault(body["logStreamName"], []).append(now)
            self.came.update((event["message"], now) for event in body["logEvents"])
        return OK

    def most(self, since: float) -> int:
        """The most calls for one stream since then."""
        return max(sum(when >= since for when in times) for times in self.times.values())


def trickle(folder: Path, pods: int, flush_s: float, interval_s: float, lines: int) -> None:
    """Each pod writes a line in each interval; a stream is called once in five flushes, nothing comes late."""
    calls = Calls()
    with CloudWatch(calls) as service, station_for(folder, service, service=f"flush {flush_s}") as station:
        logs = [station.log(f"pod{number:03}") for number in range(pods)]
        for log in logs:
            log.write(1)
        station.start()
        until_taken(station, service, pods)  # the service allows 50 new streams a second, whatever is sent
        begun, written = time.monotonic(), dict[str, float]()
        for number in range(pods * lines):
            time.sleep(max(0.0, begun + number * interval_s / pods - time.monotonic()))
            line = (log := logs[number % pods]).next_lines(1)
            written[line.decode().removesuffix("\n")] = time.monotonic()
            with log.path.open("ab") as file:
                file.write(line)
        until_taken(station, service, pods * (lines + 1))
        station.stop()
        delays = sorted(calls.came[text] - when for text, when in written.items())

        assert calls.most(begun) <= (time.monotonic() - begun) / (5 * flush_s) + 1
        assert delays[len(delays) * 99 // 100] < 6 * flush_s + BUSY_S
        assert_each_in_its_stream(service, logs)


def test_c9_streams_with_little_traffic_are_called_once_in_five_flushes(tmp_path: Path) -> None:
    """Scale 1 to 5 in pods and in time: 100 pods, five lines a second each, `flush 0.2`."""
    trickle(tmp_path, pods=100, flush_s=0.2, interval_s=0.2, lines=25)


@pytest.mark.soak
def test_c9_five_hundred_pods_cost_a_call_each_in_five_seconds(tmp_path: Path) -> None:
    """Full scale with `flush 1`, which is the default, for 40 seconds."""
    trickle(tmp_path, pods=500, flush_s=1, interval_s=1, lines=40)


def test_c9_calls_failures_and_bytes_can_be_read(tmp_path: Path) -> None:
    """The rate of the calls is what the quota of an account is about, the bytes are what is paid for."""
    puts = Counter[str]()

    def every_third(operation: str, body: dict[str, Any]) -> Answer:
        puts[operation] += 1
        throttled = operation == "PutLogEvents" and puts[operation] % 3 == 0
        return Answer(400, "ThrottlingException", "Rate exceeded") if throttled else OK

    with CloudWatch(every_third) as service, station_for(tmp_path, service, service=QUICK) as station:
        log = station.log()
        station.start()
        api = Api(station)
        for _ in range(4):
            log.write(10)
            until_taken(station, service, log.written)
        calls = 'shipper_output_requests_total{name="cw",operation="PutLogEvents"}'
        station.until(lambda: api.metric(calls) == puts["PutLogEvents"])  # the last answer is on its way
        failed = 'name="cw",operation="PutLogEvents",reason="ThrottlingException"'
        failures = api.metric(f"shipper_output_requests_failed_total{{{failed}}}")
        paid = api.metric('shipper_output_event_bytes_total{name="cw"}')
        station.stop()

        assert failures == puts["PutLogEvents"] // 3 > 0
        assert paid == sum(len(message.encode()) + 26 for message in service.all_messages())
