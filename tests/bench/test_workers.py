"""Two processes that share the files of a corpus ship all of it, and their costs are added up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cases import all_cases
from bench.corpus import write
from bench.measure import RunFailed, Usage
from bench.programs import own_program
from bench.workers import ALL, HALVES, Shared, line, ship, together, with_path


def test_the_halves_are_every_second_container_and_all_together(tmp_path: Path) -> None:
    corpus = write(tmp_path, "hundred", 0.0001)

    first, second = ({file.name for file in tmp_path.glob(half.lstrip("/"))} for half in HALVES)

    assert len(first) == len(second) == 50
    assert first | second == {file.name for file in corpus.files}


def test_two_processes_ship_the_whole_corpus(tmp_path: Path) -> None:
    corpus = write(tmp_path, "hundred", 0.0005)
    case = next(case for case in all_cases() if case.name == "tail_null_hundred")

    shared = ship(own_program(), case, corpus, HALVES)

    assert shared.cpu_s > 0
    assert shared.peak_rss_bytes > 0


def test_a_run_is_as_long_as_its_longest_process_and_costs_the_sum() -> None:
    assert together([Usage(1.0, 4.0, 100), Usage(2.0, 3.0, 50)]) == Shared(4.0, 3.0, 150)


def test_the_path_of_a_configuration_is_replaced() -> None:
    assert with_path("    path ${CORPUS}/*.log\n", "/a*.log") == "    path ${CORPUS}/a*.log\n"


def test_a_configuration_without_such_a_path_is_an_error() -> None:
    with pytest.raises(RunFailed, match="no path"):
        with_path("    path /var/log/syslog\n", ALL)


def test_a_line_has_the_medians_by_record() -> None:
    runs = [Shared(wall, 2.0, 50_000_000, 1.0, 0.05) for wall in (3.0, 2.0, 9.0)]

    assert line("tail_null", 2, runs, 1_000_000) == "| tail_null | 2 | 333 k | 2.00 | 1.00 | 50 MB | 0.05 |"
