"""Users' rows N1 to N6: multiline and partial records."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from tests.inputs.tail.running import Tail

from .running import FLUSH_S, Reader, append, cri, cri_parts

FLUSH_TIMEOUT_S = 1.0
TRACES = f"""
[MULTILINE_PARSER]
    name          trace
    type          regex
    flush_timeout {int(FLUSH_TIMEOUT_S * 1000)}
    rule          "start_state" "/^ERROR/" "cont"
    rule          "cont" "/^ +at/" "cont"
"""


def trace(number: int, depth: int = 10) -> list[str]:
    """The lines of a stack trace that carries its number."""
    return [f"ERROR {number:06d} failed", *[f"    at frame.{number}.{level}" for level in range(depth)]]


def texts(count: int, stream: str, rng: random.Random) -> list[str]:
    return [f"{stream} {n} " + "".join(rng.choices('abc é✓😀\\" ', k=rng.randint(1, 120))) + "." for n in range(count)]


def interleaved(by_stream: dict[str, list[str]], rng: random.Random) -> list[str]:
    """CRI lines of all messages; parts of both streams stand among one another at random."""
    rest = {s: [part for text in texts for part in cri_parts(text, rng, 80, s)] for s, texts in by_stream.items()}
    positions = dict.fromkeys(rest, 0)
    lines = []
    while open_streams := [s for s in rest if positions[s] < len(rest[s])]:
        stream = rng.choice(open_streams)
        lines.append(rest[stream][positions[stream]])
        positions[stream] += 1
    return lines


def interleaved_streams(folder: Path, count: int) -> None:
    rng = random.Random(count)
    written = {stream: texts(count // 2, stream, rng) for stream in ("stdout", "stderr")}
    lines = interleaved(written, rng)
    with Reader(folder, "multiline.parser cri\nmem_buf_limit 10M") as reader:
        reader.log.touch()
        reader.start()
        for start in range(0, len(lines), 997):
            append(reader.log, *lines[start : start + 997])
        reader.until_delivered(count, 60)
        records = reader.records()
        reader.stop()

    for stream, wanted in written.items():
        assert [record["log"] for record in records if record["stream"] == stream] == wanted


def test_n1_parts_of_two_streams_are_not_joined_into_one_another(tmp_path: Path) -> None:
    """Scale: 10,000 records instead of 100,000."""
    interleaved_streams(tmp_path, 10_000)


@pytest.mark.soak
def test_n1_parts_of_two_streams_are_not_joined_in_a_hundred_thousand_records(tmp_path: Path) -> None:
    """As the row says."""
    interleaved_streams(tmp_path, 100_000)


class ShortReads(SystemDisk):
    """Gives of every large read only as much as it likes; the small ones look for fingerprints."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return super().pread(fd, self._rng.randint(1, 65_536) if size > 65_536 else size, offset)


@pytest.mark.parametrize("seed", range(4))
async def test_n2_the_size_of_the_reads_does_not_show(tmp_path: Path, seed: int) -> None:
    """Scale: about 1 MB; of every block a random part of 1 byte to 64 KiB is read."""
    rng = random.Random(2)
    written = {stream: texts(1500, stream, rng) for stream in ("stdout", "stderr")}
    written["stdout"][700] = "long " * 30_000
    path = tmp_path / "0.log"
    append(path, *interleaved(written, rng))

    async with Tail(f"path {path}\nread_from_head on\nmultiline.parser cri", disk=ShortReads(seed)) as tail:
        await tail.has(3000)
        bodies = tail.bodies()

    for stream, wanted in written.items():
        assert [body["log"] for body in bodies if body["stream"] == stream] == wanted


@pytest.mark.parametrize("parser", ["trace", "cri"])
def test_n3_a_reader_that_was_held_up_does_not_cut_a_record(tmp_path: Path, parser: str) -> None:
    """Scale: a pause of 2.5 s at a `flush_timeout` of 1 s instead of 30 s; CRI parts have no timeout that short."""
    first, rest = trace(1)[:4], trace(1)[4:]
    if parser == "cri":
        first, rest = [cri("one ", flag="P")], [cri("two ", flag="P"), cri("three")]
    with Reader(tmp_path, f"multiline.parser {parser}", parsers=TRACES) as reader:
        append(reader.log, *first)
        reader.start()
        time.sleep(0.5)
        reader.shipper.freeze()
        append(reader.log, *rest)
        time.sleep(2.5)
        reader.shipper.thaw()
        lines = reader.until_delivered(1)
        reader.stop()

    assert [line.rstrip("\n") for line in lines] == ["one two three" if parser == "cri" else "\n".join(trace(1))]


def test_n3_a_slow_destination_does_not_cut_records(tmp_path: Path) -> None:
    """Traces of 300 KB, of which the buffer holds hardly one; the destination is away for 2 s."""
    written = [trace(number, 12_000) for number in range(8)]
    with Reader(tmp_path, "multiline.parser trace\nmem_buf_limit 500k", parsers=TRACES) as reader:
        out = tmp_path / "out"
        out.rmdir()
        append(reader.log, *[line for lines in written for line in lines])
        reader.start()
        time.sleep(2)
        out.mkdir()
        reader.until_delivered(8)
        lines = reader.when_quiet()
        reader.stop()

    assert [line.rstrip("\n") for line in lines] == ["\n".join(lines) for lines in written]


def test_n4_the_last_record_comes_after_the_timeout(tmp_path: Path) -> None:
    """As the row says: the flush timeout of 1 s and 1 s more."""
    with Reader(tmp_path, "multiline.parser trace", parsers=TRACES) as reader:
        reader.log.touch()
        reader.start()
        time.sleep(0.5)
        append(reader.log, *trace(1))
        took = reader.until(lambda: len(reader.records()) == 1)
        lines = reader.texts()
        reader.stop()

    assert [line.rstrip("\n") for line in lines] == ["\n".join(trace(1))]
    assert took <= FLUSH_TIMEOUT_S + 1 + FLUSH_S


def burst_of_traces(folder: Path, size: int, *, by_filter: bool) -> None:
    section = (
        "\n[FILTER]\n    name multiline\n    match *\n    multiline.key_content log\n    multiline.parser trace\n"
        "    emitter_mem_buf_limit 1M\n"
    )
    count = size // len("\n".join(trace(1, 50)))
    tail = "mem_buf_limit 5M" + ("" if by_filter else "\nmultiline.parser trace")
    with Reader(folder, tail, filters=section if by_filter else "", parsers=TRACES) as reader:
        reader.log.touch()
        reader.start()
        for start in range(0, count, 100):
            append(reader.log, *[line for n in range(start, min(count, start + 100)) for line in trace(n, 50)])
        reader.until_delivered(count, 120)
        lines = reader.texts()
        reader.stop()

    assert [line.rstrip("\n") for line in lines] == ["\n".join(trace(n, 50)) for n in range(count)]


@pytest.mark.parametrize("by_filter", [False, True], ids=["input", "filter"])
def test_n5_a_burst_of_traces_arrives_whole(tmp_path: Path, by_filter: bool) -> None:
    """Scale: 4 MB instead of 50 MB."""
    burst_of_traces(tmp_path, 4_000_000, by_filter=by_filter)


@pytest.mark.soak
@pytest.mark.parametrize("by_filter", [False, True], ids=["input", "filter"])
def test_n5_a_large_burst_of_traces_arrives_whole(tmp_path: Path, by_filter: bool) -> None:
    """As the row says."""
    burst_of_traces(tmp_path, 50_000_000, by_filter=by_filter)


@pytest.mark.parametrize("end", ["kill", "sigterm"])
def test_n6_a_record_that_was_half_read_at_the_end_is_whole_after_a_restart(tmp_path: Path, end: str) -> None:
    """As the row says, and the same for a stop in the middle of a trace."""
    with Reader(tmp_path, "multiline.parser trace", parsers=TRACES) as reader:
        append(reader.log, *trace(1), *trace(2)[:4])
        reader.start()
        reader.until_delivered(1)
        time.sleep(0.3)
        if end == "kill":
            reader.shipper.kill()
        else:
            reader.stop()
        append(reader.log, *trace(2)[4:], *trace(3), *trace(4))
        reader.start()
        reader.until_delivered(4)
        lines = reader.when_quiet()
        reader.stop()

    assert [line.rstrip("\n") for line in lines] == ["\n".join(trace(number)) for number in (1, 2, 3, 4)]
