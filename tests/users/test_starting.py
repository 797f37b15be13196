"""Users' rows Z2 and Z4: it does not stand still unseen, and probes find it however much there is to do at the start.

In row Z2 what restarts it is what runs it: Kubernetes, systemd. Here the test does.
"""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.buffers.filesystem.sparse import build_backlog
from tests.components.shipper_process import shipper_command

from .storing import Station
from .test_monitoring import Api

GREP = "[FILTER]\n    name grep\n    match *\n    regex log .\n"
BLOCKED = "tests.components.blocked_shipper"
BY_THE_THREAD, BY_THE_KERNEL = 70, -signal.SIGPROF


def append(station: Station, *lines: str) -> None:
    with (station.folder / "var" / "app.log").open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
@pytest.mark.parametrize(("how", "status"), [("wait", BY_THE_THREAD), ("spin", BY_THE_KERNEL)])
def test_z2_a_process_that_stands_still_ends_with_a_stack_dump_and_nothing_is_lost(
    tmp_path: Path, how: str, status: int, storage: str
) -> None:
    before, after = [f"{n} before" for n in range(100)], [f"{n} after" for n in range(100)]
    tail, service = f"storage.type {storage}", "watchdog_timeout 2"
    with Station(tmp_path, sections=GREP, service=service, tail=tail, module=BLOCKED) as station:
        append(station, *before)
        station.start()
        station.until(lambda: station.arrived() == before)
        append(station, how, *after)
        process = station.shipper.check()
        began = time.monotonic()
        ended_with = process.wait(timeout=30)
        took_s = time.monotonic() - began
        told = station.shipper.log().decode()
    with Station(tmp_path, sections=GREP, tail=tail) as station:
        station.start()
        station.until(lambda: station.arrived()[-1:] == after[-1:])
        station.stop()

        assert ended_with == status
        assert took_s < 10
        assert 'blocked_shipper.py", line' in told and "in _blocking" in told
        assert ("[watchdog] the event loop stands still for 2 s" in told) == (how == "wait")
        assert list(dict.fromkeys(station.arrived())) == [*before, how, *after]


def test_z2_a_process_that_was_frozen_goes_on(tmp_path: Path) -> None:
    with Station(tmp_path, service="watchdog_timeout 1") as station:
        log = station.log()
        station.start()
        station.shipper.freeze()
        time.sleep(4)
        log.write(10)
        station.shipper.thaw()

        station.until_arrived()
        time.sleep(2)
        station.stop()


def test_z4_a_large_backlog_does_not_delay_the_probes(tmp_path: Path) -> None:
    """Scale 1 to 20: 1 GB instead of 20 GiB, in sparse files."""
    null = "[OUTPUT]\n    name null\n    alias one\n    match *\n"
    with Station(tmp_path, (), service="http_server on; http_port 0", sections=null) as station:
        build_backlog(str(station.storage), 1 << 30, "tail.0")
        without_s = start_of_nothing_s()
        began = time.monotonic()
        station.start(until_watching=False)
        api = Api(station)
        station.until(lambda: is_alive(api))
        took_s = time.monotonic() - began

        print(f"{took_s:.2f} s, of which {without_s:.2f} s are the start of the interpreter")
        # What remains is ours; the rest is the start of the interpreter on a machine that may be busy.
        assert took_s - without_s < 1
        station.shipper.kill()


def start_of_nothing_s() -> float:
    began = time.monotonic()
    subprocess.run([shipper_command(), "--version"], check=True, capture_output=True)
    return time.monotonic() - began


def is_alive(api: Api) -> bool:
    with suppress(OSError):
        return api.get("/live") == (200, "ok\n")
    return False
