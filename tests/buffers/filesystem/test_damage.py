"""F1: damaged segments. What stands before the damage is delivered, and no file is deleted that has more in it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.buffers.base import DAMAGED, Loss
from shipper.buffers.filesystem.frames import SEGMENT_HEAD, FrameReader
from shipper.disk import SystemDisk
from shipper.testing import batch_of
from tests.buffers.filesystem.making import Stored, files_in, segments_in

LINES = [f"line {number} {'x' * number}" for number in range(6)]


def store(folder: Path, *, is_sealed: bool = False) -> Path:
    """A log of one segment with one line a frame, for the outputs `one` and `two`."""
    stored = Stored(folder, ("one", "two"))
    for line in LINES:
        stored.buffer.put(batch_of(line), ["one", "two"])
    if is_sealed:
        stored.buffer.close()
    stored.end()
    (segment,) = segments_in(folder)
    return segment


def frame_ends(segment: Path) -> list[int]:
    """The offsets behind the frames that hold lines."""
    reader, ends = FrameReader(SystemDisk(), str(segment), SEGMENT_HEAD.size), list[int]()
    while len(ends) < len(LINES):
        reader.offset = reader.head(segment.stat().st_size).end
        ends.append(reader.offset)
    reader.close()
    return ends


def start_again(folder: Path) -> tuple[list[str], Stored]:
    """What is delivered to the first output by a new process, and later by one more, which gets nothing twice."""
    stored = Stored(folder, ("one", "two"))
    held = stored.readers["one"].held()[0]
    found = stored.deliver("one")
    lost = sum(loss.records for loss in stored.skipped if (loss.output, loss.reason) == ("one", DAMAGED))
    assert held == len(found) + lost
    assert stored.readers["one"].held() == (0, 0)
    assert stored.deliver("two") == found
    stored.buffer.put(batch_of("new"), ["one"])
    stored.end()
    again = Stored(folder, ("one", "two"))
    assert (again.deliver("one"), again.deliver("two")) == (["new"], [])
    again.buffer.close()
    again.end()
    assert segments_in(folder) == []
    return found, stored


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return store(tmp_path / "template")


def copies(segment: Path, tmp_path: Path, changes: Iterator[bytes]) -> Iterator[tuple[int, Path]]:
    """One folder for each changed copy of a segment."""
    for number, data in enumerate(changes):
        folder = tmp_path / str(number)
        target = folder / "shipper" / "in.0" / segment.name
        target.parent.mkdir(parents=True)
        target.write_bytes(data)
        yield number, folder


def test_f1_a_segment_cut_at_any_byte_gives_every_whole_frame(template: Path, tmp_path: Path) -> None:
    data, ends = template.read_bytes(), frame_ends(template)
    assert ends[-1] == len(data)
    for length, folder in copies(template, tmp_path, (data[:n] for n in range(len(data) + 1))):
        found, _ = start_again(folder)

        assert found == LINES[: sum(1 for end in ends if end <= length)]
        is_clean = length in ends or length <= SEGMENT_HEAD.size
        moved = files_in(folder / "quarantine")
        assert [path.read_bytes() for path in moved if path.suffix == ".seg"] == ([] if is_clean else [data[:length]])


@pytest.mark.parametrize("is_sealed", [False, True])
def test_f1_any_changed_byte_costs_the_frames_from_there_on_and_no_others(is_sealed: bool, tmp_path: Path) -> None:
    segment = store(tmp_path / "template", is_sealed=is_sealed)
    data, ends = segment.read_bytes(), frame_ends(segment)
    changes = (data[:n] + bytes([data[n] ^ 0x55]) + data[n + 1 :] for n in range(len(data)))
    for place, folder in copies(segment, tmp_path, changes):
        found, stored = start_again(folder)

        is_in_frames = SEGMENT_HEAD.size <= place < ends[-1]
        assert found == (LINES[: sum(1 for end in ends if end <= place)] if is_in_frames else LINES)
        moved = [path for path in files_in(folder / "quarantine") if path.suffix == ".seg"]
        assert len(moved) == stored.metrics.total("storage_quarantined_total") >= is_in_frames


def test_the_note_in_quarantine_says_why_and_from_where_on(template: Path, tmp_path: Path) -> None:
    data, ends = template.read_bytes(), frame_ends(template)
    damaged = data[: ends[2] - 1] + b"?" + data[ends[2] :]
    ((_, folder),) = copies(template, tmp_path, iter([damaged]))
    start_again(folder)

    (note,) = [json.loads(path.read_text()) for path in files_in(folder / "quarantine") if path.suffix == ".reason"]
    assert note["intact_bytes"] == ends[1]
    assert note["reason"] == "the records of a frame are damaged"
    assert note["moved_from"].endswith(f"shipper/in.0/{template.name}")


def test_f1_a_thousand_damaged_segments_start_quickly_and_give_what_is_intact(tmp_path: Path) -> None:
    chance = random.Random(7)
    stored = Stored(tmp_path, segment_size=700)
    lines = [f"line {number} {'y' * chance.randrange(100)}" for number in range(6000)]
    for line in lines:
        stored.buffer.put(batch_of(line), ["one"])
    stored.buffer.close()
    stored.end()
    segments = segments_in(tmp_path)
    for segment in segments:
        data = bytearray(segment.read_bytes())
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        else:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        segment.write_bytes(data)
    began = time.process_time()
    stored = Stored(tmp_path, segment_size=700)
    took = time.process_time() - began
    held = stored.readers["one"].held()[0]
    found = stored.deliver()

    assert len(segments) > 1000
    assert took < 2
    assert found == [line for line in lines if line in set(found)]
    assert len(found) > len(lines) // 3
    assert held == len(found) + sum(loss.records for loss in stored.skipped)
    stored.buffer.close()
    moved = [path for path in files_in(tmp_path / "quarantine") if path.suffix == ".seg"]
    assert len(moved) == stored.metrics.total("storage_quarantined_total") > len(segments) // 2


def test_a_damaged_file_of_cursors_costs_no_record_but_some_may_come_twice(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    for line in LINES:
        stored.buffer.put(batch_of(line), ["one"])
    stored.end()
    (tmp_path / "shipper" / "in.0" / "cursors").write_bytes(b"no cursors at all")

    assert Stored(tmp_path).deliver() == LINES


def test_a_segment_that_somebody_has_deleted_is_counted_as_lost(tmp_path: Path) -> None:
    segment = store(tmp_path)
    stored = Stored(tmp_path, ("one", "two"))
    segment.unlink()

    assert stored.deliver("one") == []
    assert stored.skipped == [Loss("one", 6, sum(len(line) + 1 for line in LINES), DAMAGED)]
    assert stored.readers["one"].held() == (0, 0)


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    segment = store(tmp_path)
    foreign = segment.parent / "notes.txt"
    foreign.write_text("by hand")
    odd = segment.parent / "odd.seg"
    odd.write_text("by hand")
    stored = Stored(tmp_path, ("one", "two"))

    assert stored.deliver("one") == LINES
    stored.deliver("two")
    stored.buffer.close()
    assert (foreign.read_text(), odd.read_text()) == ("by hand", "by hand")


def test_a_file_of_another_process_is_not_written_over_and_the_records_wait_until_it_is_gone(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    foreign = Path(stored.buffer.folder, f"{stored.buffer.first:020d}.seg")
    foreign.write_bytes(b"of another process")
    first, second = batch_of("first"), batch_of("second")
    stored.buffer.put(first, ["one"])
    was_settled, content = first.receipt.is_settled, foreign.read_bytes()
    foreign.unlink()
    stored.buffer.put(second, ["one"])
    stored.end()

    assert (was_settled, content) == (False, b"of another process")
    assert first.receipt.is_settled and second.receipt.is_settled
    assert Stored(tmp_path).deliver() == ["first", "second"]
