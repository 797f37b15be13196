"""Users' rows M1 to M3: a full memory pauses the input, tells which limit it was, and always goes on again.

M4 is about inputs that receive from a network; there are none yet.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from .cloudwatch import CREDENTIALS, CloudWatch
from .harness import assert_complete
from .running import cri_parts
from .storing import Station


@pytest.mark.parametrize("storage", ["memory", "filesystem"])
def test_m1_after_each_time_that_a_sink_hangs_reading_goes_on(tmp_path: Path, storage: str) -> None:
    """Scale 1 to 1800: it hangs for about a second; 5 cycles instead of 20."""
    with CloudWatch() as service:
        lines = {"sections": service.output(), "variables": CREDENTIALS}
        tail = f"storage.type {storage}; mem_buf_limit 300k"
        with Station(tmp_path, (), tail=tail, **lines) as station:  # type: ignore[arg-type]
            log = station.log()
            station.start()
            took = []
            for _ in range(5):
                service.gate.clear()
                log.write(5000)
                time.sleep(0.7)
                service.gate.set()
                took.append(station.until(lambda: len(set(service.all_messages())) >= log.written))
            station.stop()

            assert max(took) < 5
            assert service.all_messages() == log.path.read_text().splitlines()
            if storage == "memory":
                assert station.told(r"\[input\] tail.0 paused \(mem buf overlimit")
                assert station.told(r"\[input\] tail.0 resume \(mem buf overlimit")


def test_m2_a_small_limit_loses_and_splits_nothing(tmp_path: Path) -> None:
    rng = random.Random("m2")
    texts = [f"{number:04d}-" + rng.choice("abcdefgh") * 56 * 1024 for number in range(150)]
    tail = "storage.type memory; mem_buf_limit 64k; multiline.parser cri; buffer_max_size 128k"
    with Station(tmp_path, tail=tail) as station:
        station.start()
        with (tmp_path / "var" / "big.log").open("w") as file:
            for text in texts:
                file.writelines(f"{line}\n" for line in cri_parts(text, rng, 8192))
        station.until(lambda: len(station.arrived()) >= len(texts))
        station.stop()

        assert station.arrived() == texts


LIMITS = [
    (
        "storage.type memory; mem_buf_limit 200k",
        "",
        r"paused \(mem buf overlimit - event of size \d+B exceeded limit 200000B to \d+B\).*limit=Mem_Buf_Limit, ",
    ),
    (
        "storage.type memory; mem_buf_limit 100M",
        "",
        r"paused \(mem buf .* exceeded limit 16000000B .*limit=read-ahead 16000000B \(Mem_Buf_Limit 100000000B\)",
    ),
    (
        "storage.type filesystem; storage.pause_on_chunks_overlimit on",
        "storage.max_chunks_up 2",
        r"paused \(storage buf overlimit 2/2 of storage.max_chunks_up\)",
    ),
    (
        "storage.type filesystem",
        "storage.free_space_floor 100000G",
        r"paused \(\d+B free in /.*, storage.free_space_floor is 100000000000000B\)",
    ),
]


@pytest.mark.parametrize(("tail", "service", "told"), LIMITS)
def test_m3_a_pause_names_the_setting_and_the_numbers(tmp_path: Path, tail: str, service: str, told: str) -> None:
    with Station(tmp_path, tail=tail, service=service) as station:
        log = station.log()
        station.start()
        station.close()
        log.write(120_000)
        found = station.until_told(r"\[input\] tail.0 " + told)
        if "a:" in found[0] or "waits_for" in found[0]:
            assert "waits_for=a:" in found[0]
        if "floor" in told:
            return
        station.open()
        station.until_arrived()
        station.until_told(r"\[input\] tail.0 resume")
        station.stop()

        assert_complete(station.verdict())
