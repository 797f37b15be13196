"""Users' rows O1 to O5: one output in trouble is its own trouble."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .cloudwatch import CREDENTIALS, OK, Answer, CloudWatch
from .harness import assert_complete, write_steadily
from .storing import Station

AWAY = Answer(503, "ServiceUnavailableException", "later")


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_o1_o2_one_output_that_hangs_holds_up_no_other_and_catches_up(tmp_path: Path, storage: str) -> None:
    """Scale 1 to 400: it hangs for about 10 seconds, at 0.8 MB/s; the memory is full after the first."""
    with CloudWatch() as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS}
        tail = f"storage.type {storage}; mem_buf_limit 1M"
        with Station(tmp_path, ["a", "b"], tail=tail, **lines) as station:  # type: ignore[arg-type]
            log = station.log()
            station.start()
            service.gate.clear()
            delays = []
            for _ in range(5):
                for _ in write_steadily(log, 5000, 2):
                    pass
                delays.append(max(station.until_arrived("a"), station.until_arrived("b")))
            sent_meanwhile = len(service.all_messages())
            service.gate.set()
            station.until(lambda: len(set(service.all_messages())) >= log.written)
            ledger = station.stop()

            assert max(delays) < 5
            assert sent_meanwhile == 0
            assert_complete(station.verdict("a"))
            assert_complete(station.verdict("b"))
            assert service.all_messages() == log.path.read_text().splitlines()
            assert {ledger[name]["delivered"] for name in ("a", "b", "cw")} == {log.written}


def test_o1_without_a_folder_for_storage_the_input_waits_and_says_for_whom(tmp_path: Path) -> None:
    """Nothing is lost by that: what was not read is still in the log."""
    with Station(tmp_path, ["a", "b"], tail="mem_buf_limit 1M", path=None) as station:
        log = station.log()
        station.start()
        station.close("b")
        log.write(30_000)
        found = station.until_told(r"\[input\] tail.0 paused \(mem buf overlimit .*")
        time.sleep(3)
        arrived = len(station.arrived("a"))
        station.open("b")
        station.until_arrived("a")
        station.until_arrived("b")
        station.stop()

        assert "exceeded limit 1000000B" in found[0]
        assert "waits_for=b:" in found[0]
        assert "remedy=see to that output, or raise Mem_Buf_Limit" in found[0]
        assert arrived < 30_000
        assert_complete(station.verdict("a"))
        assert_complete(station.verdict("b"))


def test_o2_a_restart_brings_the_missing_output_only_what_it_misses(tmp_path: Path) -> None:
    with Station(tmp_path, ["a", "b"]) as station:
        log = station.log()
        station.start()
        station.close("b")
        log.write(20_000)
        station.until_arrived("a")
        station.until_read()
        before = station.stop()
        station.open("b")
        station.start(until_watching=False)
        station.until_arrived("b")
        after = station.stop()

        assert (before["b"]["held"], after["b"]["delivered"]) == (20_000, 20_000)
        assert (before["a"]["delivered"], after["a"]["routed"]) == (20_000, 0)
        assert_complete(station.verdict("a"))
        assert_complete(station.verdict("b"))


def test_o3_the_accounts_of_every_output_balance(tmp_path: Path) -> None:
    """With a limit, a limit of retries, an output that is away, a tag nobody wants, and one that is healthy."""
    outputs = ["a:storage.total_limit_size 1M; storage.on_full drop_oldest", "b:retry_limit 1", "c", "d"]
    with Station(tmp_path, outputs, service="grace 1") as station:
        log = station.log()
        station.start()
        for name in "abc":
            station.close(name)
        log.write(40_000)
        station.until_arrived("d")
        station.until_told(r"chunk '\S+' cannot be retried: task_id=\d+, input=tail.0 > output=b")
        ledger = station.stop()

        assert ledger["tail.0"]["read"] == ledger["tail.0"]["stored"] == 40_000
        for name in "abcd":
            assert ledger[name]["routed"] == 40_000
        assert ledger["a"]["dropped.storage_limit"] > 10_000
        assert ledger["b"]["dropped.retries_exhausted"] > 0
        assert (ledger["c"]["held"], ledger["d"]["delivered"]) == (40_000, 40_000)


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_o4_under_overload_the_output_keeps_its_rate(tmp_path: Path, storage: str) -> None:
    """The destination takes two requests a second; what is written at once lasts it a quarter of a minute.

    Its answer takes so long that a busy neighbour on the machine cannot look like an output that stopped.
    """
    with CloudWatch(lambda operation, body: Answer(delay_s=0.5 if operation == "PutLogEvents" else 0)) as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS}
        tail = f"storage.type {storage}; mem_buf_limit 2M"
        with Station(tmp_path, (), tail=tail, **lines) as station:  # type: ignore[arg-type]
            log = station.log()
            station.start()
            log.write(1000)
            station.until(lambda: len(service.all_messages()) >= log.written)
            log.write(70_000 if storage == "filesystem" else 40_000)
            station.until(lambda: len(service.all_messages()) >= log.written)
            station.stop()
            times = [when for when, _ in service.accepted_at][2:]
            cuts = range(0, len(times) - 6, 6)
            rates = [6 / (times[cut + 6] - times[cut]) for cut in cuts]

            assert len(rates) >= 3
            assert min(rates) >= 0.8 * max(rates)


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_o5_an_outage_is_no_storm(tmp_path: Path, storage: str) -> None:
    """Scale 1 to 60: the sink refuses for 10 seconds; 20 streams wait, new records come all the time."""
    with CloudWatch(lambda operation, body: AWAY) as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS}
        with Station(tmp_path, (), tail=f"storage.type {storage}", **lines) as station:  # type: ignore[arg-type]
            logs = [station.log(f"app{number}") for number in range(20)]
            station.start()
            began = time.monotonic()
            while time.monotonic() - began < 10:
                for log in logs:
                    log.write(10)
                time.sleep(0.2)
            attempts = [when for when, _ in service.attempts if when > began + 2]
            service.decide = lambda operation, body: OK
            written = sum(log.written for log in logs)
            station.until(lambda: len(service.all_messages()) >= written)
            station.stop()

            assert 2 <= len(attempts) <= 5  # a step of the back-off is 2 seconds here
            for log in logs:
                stream = next(s for s in service.messages if s.endswith(f".{log.path.name}"))
                assert service.messages[stream] == log.path.read_text().splitlines()
