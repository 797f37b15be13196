"""The backlog that Fluent Bit has left: delivered once to each output, and kept until then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shipper.buffers.base import BatchLimits, Reader
from shipper.buffers.filesystem.chunk_files import ChunkBacklog
from shipper.clock import SystemClock
from shipper.disk import Disk
from shipper.log import Log
from shipper.metrics import Metrics
from shipper.testing import FaultyDisk, batch_of
from tests.buffers.filesystem.chunks import chunk, event
from tests.buffers.filesystem.making import by_tag, files_in, lines_in


class Backlog:
    """A backlog with its readers; everything goes to all outputs but what is tagged `none`."""

    def __init__(self, folder: Path, outputs: Sequence[str] = ("one",), disk: Disk | None = None) -> None:
        self.routed: list[tuple[str, int]] = []
        self.metrics = Metrics()
        self.backlog = ChunkBacklog(
            str(folder),
            "rejected",
            lambda tag: () if tag == "none" else outputs,
            SystemClock(),
            Log(""),
            disk or FaultyDisk(0),
            self.metrics,
            lambda output, records: self.routed.append((output, records)),
            lambda *what: None,
        )
        self.readers: dict[str, Reader] = {
            output: self.backlog.reader(output, by_tag, BatchLimits(), lambda: None) for output in outputs
        }
        self.backlog.open()

    def deliver(self, output: str = "one", deliveries: int = 1000) -> list[str]:
        lines, now = list[str](), 0.0
        for _ in range(deliveries):
            now += 10
            delivery = self.readers[output].take(now)
            if delivery is None:
                break
            lines += lines_in(delivery)
            self.readers[output].commit(delivery)
        return lines


def leave(
    folder: Path, name: str, *lines: str, tag: bytes = b"t", is_legacy: bool = False, has_checksum: bool = False
) -> Path:
    """A chunk file as Fluent Bit would leave it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join(event({"log": line}) for line in lines)
    path.write_bytes(chunk(content, tag, zeros=4096, is_legacy=is_legacy, has_checksum=has_checksum))
    return path


def test_chunks_of_all_inputs_are_delivered_by_age_and_then_deleted(tmp_path: Path) -> None:
    leave(tmp_path, "tail.0/99-1700000000.5.flb", "b1", "b2")
    leave(tmp_path, "tail.1/1000-1800000000.1.flb", "c", is_legacy=True)
    leave(tmp_path, "tail.0/999-1600000000.9.flb", "a", has_checksum=True)
    backlog = Backlog(tmp_path)

    assert backlog.deliver() == ["a", "b1", "b2", "c"]
    assert files_in(tmp_path) == []
    assert sum(records for _, records in backlog.routed) == 4


def test_nothing_is_deleted_before_it_is_delivered_to_all_outputs(tmp_path: Path) -> None:
    path = leave(tmp_path, "tail.0/1-1.1.flb", "a")
    backlog = Backlog(tmp_path, ("one", "two"))
    backlog.deliver("one")
    was_there = path.exists()
    backlog.deliver("two")

    assert (was_there, path.exists()) == (True, False)


def test_after_a_restart_only_the_outputs_get_a_chunk_that_have_not_had_it(tmp_path: Path) -> None:
    leave(tmp_path, "tail.0/1-1.1.flb", "a")
    leave(tmp_path, "tail.0/1-2.1.flb", "b", tag=b"u")
    Backlog(tmp_path, ("one", "two")).deliver("one", deliveries=1)
    again = Backlog(tmp_path, ("one", "two"))

    assert (again.deliver("one"), again.deliver("two")) == (["b"], ["a", "b"])
    assert [path.name for path in files_in(tmp_path)] == ["delivered"]
    Backlog(tmp_path)
    assert files_in(tmp_path) == []


def test_a_chunk_that_was_taken_and_not_committed_comes_again(tmp_path: Path) -> None:
    leave(tmp_path, "tail.0/1-1.1.flb", "a")
    first = Backlog(tmp_path)
    delivery = first.readers["one"].take(0.0)

    assert lines_in(delivery) == ["a"]
    assert first.readers["one"].held() == (1, len(event({"log": "a"})))
    assert Backlog(tmp_path).deliver() == ["a"]


def test_unreadable_chunks_go_to_the_quarantine_and_hold_up_no_others(tmp_path: Path) -> None:
    bad = tmp_path / "tail.0" / "1-1.1.flb"
    bad.parent.mkdir()
    bad.write_bytes(b"no chunk")
    leave(tmp_path, "tail.0/1-2.1.flb", "a")
    backlog = Backlog(tmp_path)

    assert backlog.deliver() == ["a"]
    assert [str(path.relative_to(tmp_path)) for path in files_in(tmp_path)] == [
        "quarantine/tail.0/1-1.1.flb",
        "quarantine/tail.0/1-1.1.flb.reason",
    ]
    assert backlog.metrics.total("storage_quarantined_total") == 1
    assert Backlog(tmp_path).deliver() == []


def test_a_damaged_chunk_goes_to_the_quarantine_after_what_is_whole_was_delivered(tmp_path: Path) -> None:
    path = tmp_path / "tail.0" / "1-1.1.flb"
    path.parent.mkdir()
    path.write_bytes(chunk(event({"log": "a"}) + event({"log": "b"})[:-1]))
    backlog = Backlog(tmp_path, ("one", "two"))
    first = backlog.deliver("one")
    was_there = path.exists()
    backlog.deliver("two")

    assert (first, was_there, path.exists()) == (["a"], True, False)
    assert (tmp_path / "quarantine" / "tail.0" / "1-1.1.flb").exists()


def test_a_chunk_that_no_output_takes_stays_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = leave(tmp_path, "tail.0/1-1.1.flb", "a", tag=b"none")
    backlog = Backlog(tmp_path)

    assert backlog.deliver() == []
    assert path.exists()
    assert any("no output takes a stored chunk" in message for message in caplog.messages)


def test_other_files_and_our_own_folders_are_left_alone(tmp_path: Path) -> None:
    others = [
        leave(tmp_path, name, "x")
        for name in ("shipper/1-1.1.flb", "quarantine/1-1.1.flb", "rejected/1-1.1.flb", "tail.0/.1-1.1.flb", "a.flb")
    ]
    (tmp_path / "tail.0" / "notes.txt").write_text("by hand")
    before = files_in(tmp_path)

    assert Backlog(tmp_path).deliver() == []
    assert files_in(tmp_path) == before
    assert all(path.exists() for path in others)


def test_a_chunk_that_cannot_be_read_now_is_tried_again(tmp_path: Path) -> None:
    leave(tmp_path, "tail.0/1-1.1.flb", "a")
    disk = FaultyDisk(0, ("pread",))
    backlog = Backlog(tmp_path, disk=disk)
    disk.fail_after(0)

    assert backlog.readers["one"].take(0.0) is None
    assert backlog.readers["one"].due_in(0.0) == 1.0
    assert backlog.deliver() == ["a"]


def test_few_chunks_are_in_memory_at_a_time(tmp_path: Path) -> None:
    for number in range(30):
        leave(tmp_path, f"tail.0/1-{number}.1.flb", "z" * 700_000, tag=b"t%d" % number)
    backlog = Backlog(tmp_path)
    backlog.readers["one"].take(0.0)

    assert 1 < backlog.readers["one"].held()[0] <= 13
    assert len(backlog.deliver()) == 29


def test_nothing_can_be_put_among_the_files(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        Backlog(tmp_path).backlog.put(batch_of("a"), ["one"])
