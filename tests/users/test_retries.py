"""Users' rows X1 to X4: what a destination does not take now is sent later, what it never takes is kept and told."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .cloudwatch import CREDENTIALS, OK, Answer, CloudWatch
from .storing import Station

REPLAY = """
[SERVICE]
    flush 0.1
    parsers_file {folder}/parsers.conf
[INPUT]
    name tail
    path {folder}/storage/rejected/*/rejected.jsonl
    tag replayed
    parser rejected
    read_from_head on
    exit_on_eof on
[FILTER]
    name nest
    match *
    operation lift
    nested_under record
[FILTER]
    name record_modifier
    match *
    allowlist_key log
"""
PARSERS = """
[PARSER]
    name rejected
    format json
"""


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_x1_with_the_defaults_an_outage_costs_nothing(tmp_path: Path, storage: str) -> None:
    """Scale 1 to 600: 503 for 6 seconds instead of an hour."""
    away = Answer(503, "ServiceUnavailableException", "later")
    with CloudWatch(lambda operation, body: away) as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS}
        with Station(tmp_path, (), tail=f"storage.type {storage}", **lines) as station:  # type: ignore[arg-type]
            log = station.log()
            station.start()
            log.write(5000)
            time.sleep(6)
            log.write(5000)
            service.decide = lambda operation, body: OK
            station.until(lambda: len(service.all_messages()) >= log.written)
            ledger = station.stop()

            assert service.all_messages() == log.path.read_text().splitlines()
            assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (10_000, 0)


def test_x1_retry_after_is_obeyed(tmp_path: Path) -> None:
    throttled = threading.Event()

    def once(operation: str, body: dict[str, Any]) -> Answer:
        if operation != "PutLogEvents" or throttled.is_set():
            return OK
        throttled.set()
        return Answer(400, "ThrottlingException", "slow down", {"Retry-After": "4"})

    with CloudWatch(once) as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS, "service": "scheduler.cap 60"}
        with Station(tmp_path, (), **lines) as station:  # type: ignore[arg-type]
            log = station.log()
            station.start()
            log.write(10)
            station.until(lambda: len(service.all_messages()) >= 10)
            station.stop()

            first, second = service.puts()
            assert 4 <= second - first < 6.5


def test_x2_at_the_limit_of_retries_one_delivery_goes_and_not_the_queue(tmp_path: Path) -> None:
    with Station(tmp_path, output="retry_limit no_retries") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100)
        told = r"task_id=\d+, input=tail.0 > output=a \(out_id=0\), records=100"
        station.until_told(rf"is not retried \(no retry config\): {told}")
        station.open()
        log.write(900)
        station.until_arrived(count=900)
        ledger = station.stop()

        assert (ledger["a"]["delivered"], ledger["a"]["dropped.no_retries"]) == (900, 100)


def test_x3_a_bad_record_is_kept_with_the_reason_and_can_be_sent_again(tmp_path: Path) -> None:
    def picky(operation: str, body: dict[str, Any]) -> Answer:
        bad = any(event["message"].startswith("bad") for event in body.get("logEvents", ()))
        return Answer(400, "InvalidParameterException", "Log event is invalid: bad") if bad else OK

    with CloudWatch(picky) as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS, "service": "storage.keep.rejected on"}
        with Station(tmp_path, (), tail="storage.type memory", **lines) as station:  # type: ignore[arg-type]
            station.start()
            texts = ["good 1", "good 2", "good 3", "good 4", "bad 5", *(f"good {n}" for n in range(6, 11))]
            (tmp_path / "var" / "app.log").write_text("".join(f"{text}\n" for text in texts))
            station.until(lambda: len(service.all_messages()) == 9)
            station.until(lambda: (station.storage / "rejected" / "cw" / "rejected.jsonl").exists())
            ledger = station.stop()
            lines_kept = (station.storage / "rejected" / "cw" / "rejected.jsonl").read_bytes().splitlines()
            (kept,) = (msgspec.json.decode(line) for line in lines_kept)

            service.decide = lambda operation, body: OK
            (tmp_path / "parsers.conf").write_text(PARSERS)
            station.configure(REPLAY.format(folder=tmp_path) + service.output())
            station.shipper.start()
            station.shipper.check().wait(timeout=20)

            assert sorted(service.messages) == [
                "s-replayed",
                "s-t." + str(tmp_path / "var/app.log").replace("/", ".")[1:],
            ]
            assert service.messages["s-replayed"] == ["bad 5"]
            assert (ledger["cw"]["delivered"], ledger["cw"]["dropped.refused_by_destination"]) == (9, 1)
            assert (kept["output"], kept["status"], kept["record"]) == ("cw", "400", {"log": "bad 5"})
            assert "Log event is invalid: bad" in kept["message"]
            assert kept["tag"].startswith("t.")


@pytest.mark.parametrize("retries", ["", "retry_limit 3"])
def test_x4_a_group_that_cannot_be_created_at_first_costs_no_records(tmp_path: Path, retries: str) -> None:
    """Scale 1 to 5: it fails twice; setting the retention fails always."""
    created: list[int] = []

    def unwilling(operation: str, body: dict[str, Any]) -> Answer:
        if operation == "CreateLogGroup":
            created.append(1)
            if len(created) <= 2:
                return Answer(500, "InternalFailure", "not today")
        if operation == "PutRetentionPolicy":
            return Answer(400, "AccessDeniedException", "not allowed")
        if operation == "CreateLogStream" and len(created) <= 2:
            return Answer(400, "ResourceNotFoundException", "no such group")
        return OK

    with CloudWatch(unwilling) as service:
        output = service.output("log_retention_days 7", retries)
        with Station(tmp_path, (), sections=output, variables=CREDENTIALS) as station:
            log = station.log()
            station.start()
            log.write(500)
            station.until(lambda: len(service.all_messages()) >= 500)
            ledger = station.stop()

            assert len(created) >= 3
            assert service.all_messages() == log.path.read_text().splitlines()
            assert ledger["cw"]["dropped"] == 0


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException", "ThrottlingException"])
def test_x4_what_heals_without_the_data_uses_up_no_retries(tmp_path: Path, code: str) -> None:
    """With `retry_limit 1` PutLogEvents fails until nine attempts were made; a slow service takes every other one."""
    attempts: list[int] = []

    def unwilling(operation: str, body: dict[str, Any]) -> Answer:
        if operation != "PutLogEvents":
            return OK
        attempts.append(1)
        if code == "ThrottlingException":
            return OK if len(attempts) % 2 == 0 else Answer(400, code, "Rate exceeded")
        return OK if len(attempts) > 9 else Answer(400, code, "not now")

    with CloudWatch(unwilling) as service:
        output = service.output("retry_limit 1")
        with Station(tmp_path, (), sections=output, variables=CREDENTIALS) as station:
            logs = [station.log(f"app{n}") for n in range(3)]
            station.start()
            for log in logs:
                log.write(100)
            station.until(lambda: len(service.all_messages()) >= 300)
            ledger = station.stop()

            assert sorted(service.all_messages()) == sorted(
                line for log in logs for line in log.path.read_text().splitlines()
            )
            assert (ledger["cw"]["delivered"], ledger["cw"]["dropped"]) == (300, 0)


def test_nothing_comes_twice_when_it_stops_with_a_part_of_a_delivery_taken(tmp_path: Path) -> None:
    """Six streams in one delivery, of which one is refused until the next start."""
    is_refused = True

    def all_but_one(operation: str, body: dict[str, Any]) -> Answer:
        if is_refused and operation == "PutLogEvents" and body["logStreamName"] == "3":
            return Answer(400, "ThrottlingException", "Rate exceeded")
        return OK

    with CloudWatch(all_but_one) as service:
        lines = service.output("log_stream_template $pod")
        tail = "storage.type filesystem; parser json"
        parsers = tmp_path / "parsers.conf"
        parsers.write_text("[PARSER]\n    name json\n    format json\n")
        with Station(
            tmp_path, (), sections=lines, variables=CREDENTIALS, tail=tail, service=f"grace 2; parsers_file {parsers}"
        ) as station:
            (tmp_path / "var" / "app.log").write_text(
                "".join(f'{{"pod":"{n % 6}","log":"{n % 6} {n}"}}\n' for n in range(600))
            )
            station.start()
            station.until(lambda: len(service.all_messages()) >= 500)
            first = station.stop()
            is_refused = False
            station.start()
            station.until(lambda: len(service.all_messages()) >= 600)
            second = station.stop()

            expected = {str(pod): [f"{pod} {n}" for n in range(600) if n % 6 == pod] for pod in range(6)}
            assert service.messages == expected
            assert (first["cw"]["delivered"], first["cw"]["held"]) == (500, 100)
            assert (second["cw"]["delivered"], second["cw"]["held"]) == (100, 0)


def test_dead_letters_of_deliveries_that_were_given_up_are_kept(tmp_path: Path) -> None:
    with Station(tmp_path, output="retry_limit 1", service="storage.keep.rejected on") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100)
        station.until_told("cannot be retried")
        station.stop()
        lines = (station.storage / "rejected" / "a" / "rejected.jsonl").read_bytes().splitlines()
        kept = [msgspec.json.decode(line) for line in lines]

        assert [line["record"]["log"] for line in kept] == log.path.read_text().splitlines()
        assert {line["status"] for line in kept} == {"retries_exhausted"}
        assert "No such file or directory" in kept[0]["message"]


def test_nothing_comes_twice_when_a_part_of_a_delivery_was_taken(tmp_path: Path) -> None:
    """Two streams in one delivery, of which one is refused for a while."""
    refused_until = time.monotonic() + 4

    def half(operation: str, body: dict[str, Any]) -> Answer:
        if body.get("logStreamName") == "b" and time.monotonic() < refused_until:
            return Answer(503, "ServiceUnavailableException", "later")
        return OK

    with CloudWatch(half) as service:
        output = service.output("log_stream_template $name")
        sections = "[FILTER]\n    name parser\n    match *\n    key_name log\n    parser pair\n    reserve_data on\n"
        (tmp_path / "parsers.conf").write_text(
            "[PARSER]\n    name pair\n    format regex\n    regex ^(?<name>[ab]) (?<log>.*)$\n"
        )
        station = Station(
            tmp_path,
            (),
            sections=sections + output,
            variables=CREDENTIALS,
            service=f"parsers_file {tmp_path}/parsers.conf",
        )
        with station:
            station.start()
            text = "".join(f"{'ab'[n % 2]} {n}\n" for n in range(200))
            (tmp_path / "var" / "app.log").write_text(text)
            station.until(lambda: len(service.all_messages()) >= 200)
            station.stop()

            assert service.messages["a"] == [str(n) for n in range(0, 200, 2)]
            assert service.messages["b"] == [str(n) for n in range(1, 200, 2)]
