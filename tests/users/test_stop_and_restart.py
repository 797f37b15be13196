"""Users' rows S1 to S7: what a stop, a kill and a restart leave undone, they do not lose.

S6 asks for a warning about a pod's terminationGracePeriodSeconds, which `shipper doctor` gives (`test_doctor.py`); here
only what is told about the time there is.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.faults.ledger import assert_balanced, read_ledger

from .cloudwatch import CREDENTIALS, OK, Answer, CloudWatch
from .harness import assert_complete, write_steadily
from .storing import Station


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_s1_a_long_back_off_is_cut_short_by_sigterm(tmp_path: Path, storage: str) -> None:
    service = "grace 20; scheduler.base 100; scheduler.cap 100"
    with Station(tmp_path, service=service, tail=f"storage.type {storage}") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(1000)
        station.until_told("retry in 101 seconds")
        station.open()
        began = time.monotonic()
        ledger = station.stop()

        assert_complete(station.verdict())
        assert time.monotonic() - began < 5
        assert ledger["a"]["held"] == 0


def test_s2_what_an_application_writes_while_it_stops_is_delivered(tmp_path: Path) -> None:
    """It writes for 5 seconds after SIGTERM; half of Grace is 6."""
    with Station(tmp_path, service="grace 12", tail="storage.type memory") as station:
        log = station.log()
        station.start()
        log.write(10)
        station.until_arrived()
        process = station.shipper.check()
        process.terminate()
        began = time.monotonic()
        for _ in write_steadily(log, 200, 5):
            pass
        code = process.wait(timeout=15)

        assert code == 0
        assert time.monotonic() - began < 12
        assert_complete(station.verdict())
        assert log.written > 900


def test_s2_a_quiet_shipper_does_not_wait(tmp_path: Path) -> None:
    with Station(tmp_path, service="grace 30") as station:
        log = station.log()
        station.start()
        log.write(10)
        station.until_arrived()
        time.sleep(0.6)
        began = time.monotonic()
        station.stop()

    assert time.monotonic() - began < 2


def test_s2_the_last_line_before_the_signal_is_delivered_however_quiet_it_was(tmp_path: Path) -> None:
    with Station(tmp_path) as station:
        log = station.log()
        station.start()
        for _ in range(3):
            log.write(10)
            station.until_arrived()
            time.sleep(0.7)
            log.write(1)
            station.stop()
            arrived = len(station.arrived())
            station.start()

            assert arrived == log.written


def test_s2_an_unfinished_trace_is_delivered_at_the_stop_if_nobody_would_read_it_again(tmp_path: Path) -> None:
    """Without a database there are no positions; with one it is read again at the start, see N6."""
    with Station(tmp_path, tail="storage.type memory; multiline.parser java") as station:
        configuration = tmp_path / "shipper.conf"
        station.configure(configuration.read_text().replace(f"    db {tmp_path}/tail.db\n", ""))
        log = station.log()
        station.start()
        log.path.write_text("Exception in thread main java.lang.Error: last words\n    at a.B.c(B.java:1)\n")
        station.stop()

        assert [line for line in station.arrived() if line] == log.path.read_text().splitlines()


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_s3_killed_at_random_moments_it_loses_nothing_for_any_output(tmp_path: Path, storage: str) -> None:
    """Scale 1 to 25: 8 kills instead of 200; three outputs, one of which is away until the end."""
    rng = random.Random(os.environ.get("FAULT_SEED") or "s3")
    with Station(tmp_path, ["a", "b", "c"], tail=f"storage.type {storage}; mem_buf_limit 1M") as station:
        log = station.log()
        station.start()
        station.close("c")
        for _ in range(8):
            for _ in write_steadily(log, 4000, rng.uniform(0.1, 0.8)):
                pass
            if rng.random() < 0.3:
                log.rotate()
            station.shipper.kill()
            station.start(until_watching=False)
        station.until_arrived("a")
        station.until_arrived("b")
        station.open("c")
        station.until_arrived("c")
        station.stop()

        for name in "abc":
            verdict = station.verdict(name)
            assert (verdict.lost, verdict.broken) == (0, 0), f"{name}: {verdict}"


def test_s4_credentials_that_do_not_work_move_no_position(tmp_path: Path) -> None:
    """Scale 1 to 200: refused for 3 seconds instead of 10 minutes, across a restart."""
    denied = Answer(400, "ExpiredTokenException", "The security token included in the request is expired")
    with CloudWatch(lambda operation, body: denied) as service:
        lines = {"tail": "storage.type memory", "sections": service.output(), "variables": CREDENTIALS}
        with Station(tmp_path, (), **lines) as station:  # type: ignore[arg-type]
            log = station.log()
            station.start()
            log.write(3000)
            station.until(lambda: len(service.puts()) >= 1)
            time.sleep(3)
            positions = station.saved_positions()
            station.stop()
            service.decide = lambda operation, body: OK
            station.start(until_watching=False)
            station.until(lambda: len(service.all_messages()) >= 3000)
            station.stop()

            assert sum(positions) == 0
            assert service.all_messages() == log.path.read_text().splitlines()


def test_attempts_at_a_stop_do_not_use_up_the_retries(tmp_path: Path) -> None:
    """The vector of the shutdown: one retry is allowed, and SIGTERM comes while it is waited for."""
    service = "grace 2; scheduler.base 5; scheduler.cap 2000"
    with Station(tmp_path, service=service, output="retry_limit 1") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100)
        station.until_told(r"failed to flush chunk '\S+', retry in \d+ seconds")
        before = station.stop()
        station.open()
        station.start()
        station.until_arrived()
        after = station.stop()

        assert (before["a"]["held"], before["a"]["dropped"]) == (100, 0)
        assert (after["a"]["delivered"], after["a"]["dropped"]) == (100, 0)
        assert_complete(station.verdict())


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_a_destination_that_comes_back_during_a_stop_gets_all_however_few_retries_are_allowed(
    tmp_path: Path, storage: str
) -> None:
    """The second lines wait behind the first, whose only retry the stop makes at once."""
    service = "grace 60; scheduler.base 100; scheduler.cap 100"
    with Station(tmp_path, service=service, tail=f"storage.type {storage}", output="retry_limit 1") as station:
        log = station.log()
        station.start()
        station.close()
        log.write(100)
        station.until_told(r"failed to flush chunk '\S+', retry in 101 seconds")
        log.write(50)
        process = station.shipper.check()
        process.terminate()
        station.until_told("pausing all inputs")
        time.sleep(2.5)  # some attempts fail meanwhile; on a slow machine fewer do
        station.open()
        code = process.wait(timeout=60)

        assert code == 0
        assert_complete(station.verdict())
        assert station.told(r"\(0 pending records, 150 delivered\)")


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_s5_what_a_filter_fails_on_is_counted_and_kept_before_the_position_moves(tmp_path: Path, storage: str) -> None:
    """No filter of ours can be made to fail from outside, so one is given a bug; the rest is the real thing."""
    grep = "[FILTER]\n    name grep\n    match *\n    exclude log nothing-like-this\n"
    failing = "tests.components.failing_shipper"
    lines = [f"{'bad' if number % 100 == 7 else 'good'} {number}" for number in range(1000)]
    service = "storage.keep.rejected on"
    with Station(tmp_path, tail=f"storage.type {storage}", service=service, sections=grep, module=failing) as station:
        log = station.log()
        station.start()
        log.path.write_text("".join(f"{line}\n" for line in lines))
        station.until(lambda: len(station.arrived()) >= 990)
        station.until_read()
        ledger = station.stop()
        (path,) = station.storage.glob("rejected/*/rejected.jsonl")
        kept = [json.loads(line) for line in path.read_text().splitlines()]

        assert station.arrived() == [line for line in lines if line.startswith("good")]
        assert [entry["record"]["log"] for entry in kept] == [line for line in lines if line.startswith("bad")]
        assert {(entry["output"], entry["status"]) for entry in kept} == {("grep.0", "filter_failed")}
        assert (ledger["tail.0"]["read"], ledger["tail.0"]["dropped.filter_failed"]) == (1000, 10)
        assert ledger["a"]["delivered"] == 990


def test_s6_the_start_tells_how_long_a_stop_may_take(tmp_path: Path) -> None:
    with Station(tmp_path, service="grace 25") as station:
        station.start()
        station.stop()

        assert station.told(r"Shutdown Grace Period=25, Shutdown Input Grace Period=12")


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_s7_an_output_that_hangs_does_not_keep_it_from_stopping(tmp_path: Path, storage: str) -> None:
    hanging = threading.Event()
    with CloudWatch(lambda operation, body: Answer(delay_s=60)) as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS, "service": "grace 2"}
        with Station(tmp_path, (), tail=f"storage.type {storage}", **lines) as station:  # type: ignore[arg-type]
            log = station.log()
            station.start()
            log.write(500)
            station.until(lambda: len(service.attempts) > 0)
            if storage == "filesystem":
                station.until_read()
            began = time.monotonic()
            ledger = station.stop()
            took = time.monotonic() - began
            hanging.set()

            assert took < 3
            assert ledger["cw"]["held"] == 500
            on_disk = ", 500 of them on disk" if storage == "filesystem" else ""
            assert station.told(re.escape(f"service has stopped (500 pending records{on_disk}, 0 delivered)"))


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_s7_a_second_sigterm_ends_it_at_once_with_the_state_saved(tmp_path: Path, storage: str) -> None:
    with Station(tmp_path, service="grace 60", tail=f"storage.type {storage}") as station:
        log = station.log()
        station.start()
        log.write(1000)
        station.until_arrived()
        station.close()
        log.write(1000)
        station.until_told("retry in")
        process = station.shipper.check()
        process.send_signal(signal.SIGTERM)
        station.until_told("service will shutdown")
        time.sleep(1)
        was_running = process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=10)
        took = time.monotonic() - began
        ledger = read_ledger(station.shipper.log().decode())
        station.open()
        station.start(until_watching=False)
        station.until_arrived()
        station.stop()

        assert (was_running, code, took < 2) == (True, 0, True)
        assert_balanced(ledger)
        assert_complete(station.verdict())
