"""Processes are measured as the kernel counts, and their metadata is what the filter looks for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from bench.corpus import write_spread
from bench.measure import RunFailed, Running, cpu_of_stat, run_to_end
from bench.metadata import write_metadata


def test_cpu_time_is_read_behind_whatever_a_program_is_called() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    rest = " ".join(map(str, ["S", *range(1, 11), 3 * ticks, 2 * ticks, ticks, 0, *range(30)]))

    assert cpu_of_stat(f"17 (a) b (c)) {rest}") == 6.0


def test_a_process_that_fails_tells_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="code 3\nbad luck"):
        run_to_end(["sh", "-c", "echo bad luck; exit 3"], {}, tmp_path / "log")


def test_a_process_can_be_held_to_one_core(tmp_path: Path) -> None:
    ask = "import os; print(len(os.sched_getaffinity(0)), os.environ['WORD'])"

    usage = run_to_end([sys.executable, "-c", ask], {"WORD": "given"}, tmp_path / "log", cores=1)

    assert (tmp_path / "log").read_text() == "1 given\n"
    assert usage.peak_rss_bytes > 0


def test_a_process_does_not_outlive_its_context(tmp_path: Path) -> None:
    with Running(["sleep", "60"], {}, tmp_path / "log") as process:
        resident = process.resident_bytes()

    assert resident > 0
    with pytest.raises(RunFailed, match="ended with code -9"):
        process.check()


def test_each_pod_of_a_corpus_has_a_file_of_metadata(tmp_path: Path) -> None:
    corpus = write_spread(tmp_path / "logs", files=2, each=1)

    write_metadata(tmp_path / "metadata", corpus.files)

    names = [file.name for file in sorted((tmp_path / "metadata").iterdir())]
    assert names == ["load_gen000-7d4b9c-x0000.meta", "load_gen001-7d4b9c-x0001.meta"]
    pod = msgspec.json.decode((tmp_path / "metadata" / names[1]).read_bytes())
    assert pod["metadata"]["name"] == "gen001-7d4b9c-x0001"
    assert pod["status"]["containerStatuses"][0]["containerID"] == f"containerd://01{'0' * 62}"
