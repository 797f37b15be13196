"""The backlog that Fluent Bit has left: delivered once to each output, and kept until then."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from shipper.buffers.base import DAMAGED, BatchLimits, Loss, Reader
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

    def __init__(
        self, folder: Path, outputs: Sequence[str] = ("one",), disk: Disk | None = None, memory: int = 0
    ) -> None:
        self.lost: list[Loss] = []
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
            self.lost.append,
            memory=memory,
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


def test_what_waits_takes_no_more_memory_than_it_may_however_long_an_output_hangs(tmp_path: Path) -> None:
    """Chunks of other streams are found and delivered meanwhile."""
    for number in range(30):
        leave(tmp_path, f"tail.0/1-{number}.1.flb", f"{number} {'z' * 1_000_000}")
    leave(tmp_path, "tail.0/1-30.1.flb", "other", tag=b"u")
    tracemalloc.start()
    backlog = Backlog(tmp_path, memory=5_000_000)
    reader = backlog.readers["one"]
    hanging = reader.take(0.0)
    seen, most = set[int](), 0
    others: list[str] = []
    for second in range(1, 30):
        delivery = reader.take(second)
        if delivery is not None:
            others += lines_in(delivery)
            reader.commit(delivery)
        seen.add(reader.held()[0])
        most = max(most, backlog.backlog.statistics().memory)
    in_memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    reader.give_back(hanging or pytest.fail("nothing was taken"))
    found = [int(line.split()[0]) for line in backlog.deliver()]

    assert 0 < most <= 5_000_000
    assert in_memory < 10_000_000
    assert max(seen) == 30
    assert others == ["other"]
    assert found == list(range(30))
    assert backlog.backlog.statistics().memory == 0
    assert backlog.lost == []


def test_a_chunk_that_cannot_be_read_again_is_counted_and_stays_for_the_next_start(tmp_path: Path) -> None:
    for number in range(3):
        leave(tmp_path, f"tail.0/1-{number}.1.flb", f"{number}", tag=b"app.web")
    backlog = Backlog(tmp_path)
    reader = backlog.readers["one"]
    first = reader.take(0.0)
    assert first is not None
    reader.give_back(first)
    away = tmp_path / "tail.0" / "1-1.1.flb"
    away.rename(tmp_path / "away")
    found = backlog.deliver()
    held = reader.held()
    (tmp_path / "away").rename(away)

    assert found == ["0", "2"]
    assert held == (0, 0)
    assert [(loss.output, loss.records, loss.tag) for loss in backlog.lost] == [("one", 1, "app.web")]
    assert Backlog(tmp_path).deliver() == ["1"]


def test_a_chunk_that_cannot_be_read_again_now_waits_with_those_behind_it(tmp_path: Path) -> None:
    for number in range(4):
        leave(tmp_path, f"tail.0/1-{number}.1.flb", f"{number}")
    disk = FaultyDisk(0, ("open",), errno.EMFILE)
    backlog = Backlog(tmp_path, disk=disk)
    reader = backlog.readers["one"]
    reader.give_back(reader.take(0.0) or pytest.fail("nothing was taken"))
    disk.fail_after(2)
    first = reader.take(1.0)
    others = reader.take(1.0)
    due_in = reader.due_in(1.5)

    assert (lines_in(first), others, due_in) == (["0", "1"], None, 0.5)
    reader.commit(first or pytest.fail("nothing was taken"))
    assert backlog.deliver() == ["2", "3"]
    assert (backlog.lost, reader.held(), files_in(tmp_path)) == ([], (0, 0), [])


def test_a_chunk_that_is_damaged_when_it_is_read_again_goes_to_the_quarantine(tmp_path: Path) -> None:
    path = leave(tmp_path, "tail.0/1-1.1.flb", "a")
    backlog = Backlog(tmp_path)
    reader = backlog.readers["one"]
    reader.give_back(reader.take(0.0) or pytest.fail("nothing was taken"))
    path.write_bytes(b"no chunk")

    assert backlog.deliver() == []
    assert [(loss.records, loss.reason) for loss in backlog.lost] == [(1, DAMAGED)]
    assert not path.exists()
    assert Backlog(tmp_path).deliver() == []


def test_a_delivery_has_the_name_of_its_file(tmp_path: Path) -> None:
    leave(tmp_path, "tail.0/1-1.1.flb", "a")
    delivery = Backlog(tmp_path).readers["one"].take(0.0)

    assert delivery is not None
    assert (delivery.name, delivery.is_replayed) == ("1-1.1.flb", True)


def test_nothing_can_be_put_among_the_files(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        Backlog(tmp_path).backlog.put(batch_of("a"), ["one"])
