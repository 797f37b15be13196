"""How readers go through a log: isolation, lanes, frames for others, and outputs that come and go."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from shipper.buffers.base import DAMAGED, BatchLimits
from shipper.buffers.filesystem import log_source, reader
from shipper.buffers.filesystem.names import safe_name, stored_inputs
from shipper.disk import SystemDisk
from shipper.record import Origin, Receipt, RecordBatch
from shipper.testing import batch_of
from tests.buffers.filesystem.disks import FaultyProcessDisk
from tests.buffers.filesystem.making import Stored, lines_in, segments_in


def test_o1_an_output_that_is_away_keeps_its_records_and_nothing_of_the_others(tmp_path: Path) -> None:
    stored = Stored(tmp_path, ("dead", "healthy"), memory=5000, segment_size=2000)
    lines = [f"{number} {'w' * 80}" for number in range(200)]
    found = []
    for line in lines:
        stored.buffer.put(batch_of(line), ["dead", "healthy"])
        found += stored.deliver("healthy")

    assert found == lines
    assert stored.readers["dead"].held()[0] == 200
    assert stored.buffer.memory <= 6000
    assert stored.deliver("dead") == lines


def test_one_stuck_stream_holds_up_no_other_and_only_its_own_segments(tmp_path: Path) -> None:
    stored = Stored(tmp_path, limits=BatchLimits(100, 10, 1.0), segment_size=1000)
    stored.buffer.put(batch_of("stuck", tag="stuck"), ["one"])
    stuck = stored.take()
    found = []
    for number in range(300):
        stored.buffer.put(batch_of(f"{number} {'q' * 90}", tag="fine"), ["one"])
        found += stored.deliver()
    left = len(segments_in(tmp_path))
    stored.end()
    again = Stored(tmp_path)

    assert lines_in(stuck) == ["stuck"]
    assert len(found) == 300
    assert left <= 2
    assert again.readers["one"].held() == (1, 6)
    assert again.deliver() == ["stuck"]


def test_a_stored_batch_comes_from_the_same_place_after_a_kill_and_from_no_other(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    for line in "ab":
        stored.buffer.put(batch_of(line, receipt=Receipt(origin=Origin("file", 0, 5))), ["one"])
    before = stored.take()
    stored.end()
    again = Stored(tmp_path)
    after = again.take()

    assert before is not None and after is not None
    origins = [batch.receipt.origin for batch in before.batches]
    assert [batch.receipt.origin for batch in after.batches] == origins
    assert len({None, Origin("file", 0, 5), *origins}) == 4


def test_a_reader_far_behind_is_given_full_deliveries(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    for number in range(100):
        stored.buffer.put(batch_of(f"{number:03d}", tag="ab"[number % 2]), ["one"])
    stored.end()
    again = Stored(tmp_path, limits=BatchLimits(80, 1000, 1.0))
    sizes = []
    while (delivery := again.readers["one"].take(0.0)) is not None:
        sizes.append(len(delivery.batches))
        again.readers["one"].commit(delivery)

    assert sizes == [20, 20, 20, 20, 10, 10]


def test_a_reader_whose_lanes_are_out_looks_for_others_in_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FILL_BYTES", 500)
    stored = Stored(tmp_path)
    for _ in range(50):
        stored.buffer.put(batch_of("t" * 99, tag="long"), ["one"])
    stored.buffer.put(batch_of("short", tag="other"), ["one"])
    stored.end()
    one = Stored(tmp_path, limits=BatchLimits(100, 1000, 1.0)).readers["one"]
    first = one.take(0.0)
    looks: list[float | None] = []
    while (found := one.take(float(len(looks)))) is None:
        assert one.take(len(looks) + 0.5) is None
        looks.append(one.due_in(len(looks) + 0.5))

    assert lines_in(first) == ["t" * 99]
    assert lines_in(found) == ["short"]
    assert 5 < len(looks) < 20
    assert set(looks[1:]) == {0.5}


def test_a_reader_that_has_fallen_behind_catches_up_and_then_reads_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_source, "WINDOW", 5)
    stored = Stored(tmp_path, segment_size=500)
    lines = [f"{number} {'r' * 50}" for number in range(40)]
    for line in lines:
        stored.buffer.put(batch_of(line), ["one"])
    found = stored.deliver()
    new = batch_of("new")
    stored.buffer.put(new, ["one"])
    delivery = stored.take()

    assert found == lines
    assert delivery is not None and delivery.batches[0].content is new.content


def test_records_for_an_output_that_is_not_configured_stay_and_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored(tmp_path, ("one", "gone"))
    stored.buffer.put(batch_of("a"), ["one", "gone"])
    stored.deliver("one")
    stored.buffer.close()
    without = Stored(tmp_path, ("one",))
    without.buffer.put(batch_of("b"), ["one"])
    found = without.deliver("one")
    without.buffer.close()

    assert found == ["b"]
    assert any("output that is not configured" in message and "records=1" in message for message in caplog.messages)
    assert Stored(tmp_path, ("one", "gone")).deliver("gone") == ["a"]


def test_an_output_that_is_new_gets_what_is_put_from_now_on(tmp_path: Path) -> None:
    stored = Stored(tmp_path, ("one",))
    stored.buffer.put(batch_of("a"), ["one"])
    stored.end()
    stored = Stored(tmp_path, ("one", "new"))
    stored.buffer.put(batch_of("b"), ["one", "new"])

    assert (stored.deliver("new"), stored.deliver("one")) == (["b"], ["a", "b"])


def test_an_output_that_cannot_name_a_lane_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken(batch: RecordBatch) -> str:
        raise ZeroDivisionError("bug")

    stored = Stored(tmp_path, ("healthy",))
    stored.buffer.reader("broken", broken, BatchLimits(), lambda: None)

    with pytest.raises(ZeroDivisionError):
        stored.buffer.put(batch_of("a"), ["healthy", "broken"])
    assert (stored.readers["healthy"].held(), stored.deliver("healthy")) == ((0, 0), [])
    assert segments_in(tmp_path) == []


@pytest.mark.parametrize("call", ["open", "pread", "fstat"])
def test_what_cannot_be_read_now_is_tried_again_after_a_second(call: str, tmp_path: Path) -> None:
    Stored(tmp_path).buffer.put(batch_of("a"), ["one"])
    disk = FaultyProcessDisk(0, (call,), 5, "error")
    stored = Stored(tmp_path, disk=disk)
    one = stored.readers["one"]
    disk.fail_after(0)
    first = one.take(0.0)
    if call == "fstat":
        assert lines_in(first) == ["a"]
        return

    assert (first, one.due_in(0.0), one.take(0.5)) == (None, 1.0, None)
    assert lines_in(one.take(1.0)) == ["a"]
    assert stored.skipped == []


@pytest.mark.parametrize(
    ("error", "failures", "lost"),
    [(errno.EMFILE, 30, 0), (errno.EIO, log_source.READ_TRIES - 1, 0), (errno.EIO, log_source.READ_TRIES, 1)],
)
def test_a_batch_that_has_left_memory_is_read_again_until_that_goes_well_or_the_medium_is_bad(
    error: int, failures: int, lost: int, tmp_path: Path
) -> None:
    disk = FaultyProcessDisk(0, ("open",), error, "error")
    stored = Stored(tmp_path, disk=disk, memory=0)
    stored.buffer.put(batch_of("a"), ["one"])
    one = stored.readers["one"]
    one.give_back(one.take(10.0, flush=True) or pytest.fail("nothing was taken"))
    for second in range(failures):
        disk.fail_after(0)
        assert one.take(20.0 + second, flush=True) is None
    found = one.take(20.0 + failures, flush=True)

    assert (found is None, len(stored.skipped)) == (lost > 0, lost)
    assert one.held()[0] == 1 - lost


@pytest.mark.parametrize(
    ("error", "failures", "lost"),
    [(errno.ENOMEM, 30, 0), (errno.EIO, log_source.READ_TRIES - 1, 0), (errno.EIO, log_source.READ_TRIES, 3)],
)
def test_a_segment_is_read_again_until_that_goes_well_or_the_medium_is_bad(
    error: int, failures: int, lost: int, tmp_path: Path
) -> None:
    first = Stored(tmp_path)
    for text in "abc":
        first.buffer.put(batch_of(text), ["one"])
    first.end()
    disk = FaultyProcessDisk(0, ("pread",), error, "error")
    stored = Stored(tmp_path, disk=disk)
    one = stored.readers["one"]
    for second in range(failures):
        disk.fail_after(0)
        assert (one.take(float(second), flush=True), disk.failed) == (None, True)
    found = one.take(float(failures), flush=True)

    assert ([] if found is None else lines_in(found)) == (list("abc") if lost == 0 else [])
    assert sum(loss.records for loss in stored.skipped) == lost


def test_a_medium_that_fails_for_good_costs_its_segment_and_no_other(tmp_path: Path) -> None:
    bad: set[int] = set()

    class BadSector(FaultyProcessDisk):
        is_bad = False

        def pread(self, fd: int, size: int, offset: int) -> bytes:
            if fd in bad:
                raise OSError(5, "Input/output error")
            return super().pread(fd, size, offset)

        def open(self, path: str, flags: int, mode: int = 0o600) -> int:
            fd = super().open(path, flags, mode)
            (bad.add if path.endswith("02.seg") and self.is_bad else bad.discard)(fd)
            return fd

    stored = Stored(tmp_path, segment_size=200)
    for number in range(4):
        stored.buffer.put(batch_of(f"{number} {'s' * 60}"), ["one"])
    stored.end()
    disk = BadSector(0, (), 5, "error")
    stored = Stored(tmp_path, disk=disk)
    disk.is_bad = True
    found = [line for _ in range(10) for line in stored.deliver()]

    assert [line[0] for line in found] == ["1", "2", "3"]
    assert [(loss.records, loss.reason) for loss in stored.skipped] == [(1, DAMAGED)]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("tail.0", "tail.0"),
        ("../../etc", "%2E.%2F..%2Fetc"),
        (".", "%2E"),
        ("..", "%2E."),
        ("a b/ü", "a%20b%2F%C3%BC"),
        ("", "%00"),
        ("nul\0", "nul%00"),
    ],
)
def test_the_name_of_an_input_cannot_lead_out_of_its_folder(name: str, folder: str) -> None:
    assert safe_name(name) == folder


def test_long_names_stay_different(tmp_path: Path) -> None:
    names = {safe_name("x" * 300 + end) for end in "ab"}

    assert len(names) == 2
    assert all(len(name) <= 200 for name in names)


def test_the_inputs_of_earlier_configurations_are_found(tmp_path: Path) -> None:
    for name in ("tail.0", "my input/1"):
        Stored(tmp_path, name=name).buffer.close()

    assert stored_inputs(SystemDisk(), str(tmp_path)) == ["my input/1", "tail.0"]
    assert stored_inputs(SystemDisk(), str(tmp_path / "nowhere")) == []


def test_a_reader_that_is_behind_keeps_nothing_waiting_until_the_next_delivery_of_its_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for so many batches here; while they wait, nothing else is read from the disk."""
    monkeypatch.setattr(log_source, "WINDOW", 4)
    stored = Stored(tmp_path, limits=BatchLimits(1000, 1000, 1.0, 5.0))
    one, found = stored.readers["one"], []
    for number in range(20):
        stored.buffer.put(batch_of(f"{number:02d}"), ["one"])
    told = list(stored.told)
    while (delivery := one.take(0.0)) is not None:
        found += lines_in(delivery)
        one.commit(delivery)
    stored.buffer.put(batch_of("new"), ["one"])

    assert told == ["one", "one"]
    assert found == [f"{number:02d}" for number in range(20)]
    assert (one.take(0.0), one.due_in(0.0)) == (None, 5.0)
