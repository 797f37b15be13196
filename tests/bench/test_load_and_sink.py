"""The load writes lines that the sink understands, and the sink can go away and come back."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bench.arrivals import Arrivals
from bench.load import COUNT, Load
from bench.sink import SinkProcess


def test_lines_go_to_the_files_in_turn_and_have_their_length(tmp_path: Path) -> None:
    load = Load(tmp_path, files=3, line_bytes=200)
    load.write(4, now_ns=1_700_000_000_000_000_000)
    load.write(1, now_ns=1_700_000_001_000_000_000)

    lines = [file.read_bytes().splitlines() for file in sorted(tmp_path.glob("*.log"))]
    assert [len(of_file) for of_file in lines] == [2, 2, 1]
    assert {len(line) for of_file in lines for line in of_file} == {199}
    assert lines[0][0].startswith(b"2023-11-14T22:13:20.000000000Z stdout F at=1700000000000000000 no=0 GET")
    assert int((tmp_path / COUNT).read_text()) == 5


def test_the_sink_finds_every_line_of_the_load(tmp_path: Path) -> None:
    Load(tmp_path, files=2, line_bytes=150).write(10, now_ns=time.time_ns())
    arrivals = Arrivals()
    for file in tmp_path.glob("*.log"):
        arrivals.take(file.read_bytes())

    assert arrivals.status().complete_below == 10


def send(port: int, *numbers: int) -> None:
    body = b"".join(b"at=%d no=%d x\n" % (time.time_ns(), number) for number in numbers)
    urllib.request.urlopen(f"http://127.0.0.1:{port}/logs", data=body, timeout=10).close()


def test_a_sink_takes_nothing_while_it_is_away(tmp_path: Path) -> None:
    with SinkProcess(tmp_path) as sink:
        send(sink.port, 0, 1)
        sink.be_away(0.2)
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            send(sink.port, 2)
        while sink.status().back_ns == 0:
            time.sleep(0.01)
        send(sink.port, 2)

        status, late = sink.status(), sink.latencies(0, time.time_ns())

    assert (status.arrived, status.complete_below) == (3, 3)
    assert late.lines == 3
