"""Another program runs beside ours, in turns and on the same configuration, and the table shows the ratios."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cases import Case, all_cases
from bench.programs import Program, find_peer, in_turns, own_program
from bench.results import new_report
from bench.runner import Runner, Sizes
from bench.table import table

_OURS = Program(("shipper", "-c", "{conf}"))
_PEER = Program(("peer", "-c", "{conf}"), is_peer=True)
_SMALL = Sizes(scale=0.001, repeat=2)


def write_program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def tail_null() -> Case:
    return next(case for case in all_cases() if case.name == "tail_null")


@pytest.fixture(autouse=True)
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPPER_BENCH_CORPUS", str(tmp_path / "corpora"))


def test_ours_and_the_peer_take_turns() -> None:
    assert in_turns(_OURS, _PEER, 2) == [_OURS, _PEER, _OURS, _PEER]
    assert in_turns(_OURS, None, 2) == [_OURS, _OURS]


def test_a_peer_is_run_with_the_configuration(tmp_path: Path) -> None:
    path = write_program(tmp_path / "peer", "true")

    peer = find_peer(path)

    assert peer is not None
    assert peer.arguments(Path("/x/shipper.conf")) == [path, "-c", "/x/shipper.conf"]


def test_an_installed_fluent_bit_is_the_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_program(tmp_path / "fluent-bit", "true")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_peer(None) == Program((path, "-c", "{conf}"), is_peer=True)


def test_without_fluent_bit_there_is_no_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_peer(None) is None


def test_a_peer_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such thing"):
        find_peer(f"{tmp_path}/no such thing")


def test_the_same_program_as_a_peer_has_the_same_figures(tmp_path: Path) -> None:
    shipper = Path(sys.executable).with_name("shipper")
    peer = find_peer(write_program(tmp_path / "peer", f'exec {shipper} "$@"'))

    results = Runner(own_program(), peer, _SMALL).measure(tail_null())

    assert [len(result.runs) for result in results] == [len(result.peer_runs) for result in results] == [2]
    other = results[0].peer
    assert other is not None
    # The ratio of times is no matter for a test; that of memory is.
    assert 0.8 < results[0].peak_rss_bytes / other.peak_rss_bytes < 1.25
    assert all(len(run.yardsticks_us) == 2 for run in results[0].runs + results[0].peer_runs)
    told = table(new_report("shipper", _SMALL.scale, results, 0, str(peer)))
    assert "| CPU ratio | records/s ratio | RSS ratio |" in told


def test_a_peer_that_fails_is_noted_and_ours_is_measured(tmp_path: Path) -> None:
    peer = find_peer(write_program(tmp_path / "peer", "exit 3"))
    runner = Runner(own_program(), peer, _SMALL)

    results = runner.measure(tail_null())

    assert len(results[0].runs) == 2
    assert results[0].peer is None
    assert runner.failures == ["tail_null (peer): ended with code 3"] * 2


def test_a_case_of_ours_that_fails_has_no_result(tmp_path: Path) -> None:
    ours = own_program(f"{write_program(tmp_path / 'ours', 'exit 3')} -c {{conf}}")
    runner = Runner(ours, None, _SMALL)

    results = runner.measure(tail_null())

    assert results == []
    assert runner.failures == ["tail_null: ended with code 3"]
