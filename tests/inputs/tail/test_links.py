"""Files behind symbolic links, as container runtimes arrange them: rotation, removal, links that lead elsewhere."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from .running import Tail, append, inode, rows, write


class Link:
    """`c.log`, a link to `real/0.log`."""

    def __init__(self, folder: Path) -> None:
        self.real = folder / "real" / "0.log"
        self.real.parent.mkdir()
        self.path = folder / "c.log"
        self.path.symlink_to(self.real)
        self.db = folder / "p.db"
        self.options = f"path {self.path}\nread_from_head on\ntag k.*\npath_key p\ndb {self.db}\nrefresh_interval 60"

    def lead_to(self, name: str) -> Path:
        """Let the link lead to another file beside the first; gives that."""
        other = self.real.with_name(name)
        self.path.unlink()
        self.path.symlink_to(other)
        return other


@pytest.fixture
def link(tmp_path: Path) -> Link:
    return Link(tmp_path)


@pytest.mark.parametrize("watcher", ["on", "off"])
async def test_36a_the_new_target_of_a_link_is_read_at_once(link: Link, watcher: str) -> None:
    write(link.real, "one")

    async with Tail(f"{link.options}\nrotate_wait 60\ninotify_watcher {watcher}") as tail:
        await tail.has(1)
        link.real.rename(f"{link.real}.1")
        write(link.real, "two")
        await tail.has(2)
        append(Path(f"{link.real}.1"), "late")
        await tail.has(3)

    assert {(tag, body["p"]) for tag, body in zip(tail.tags(), tail.bodies(), strict=True)} == {
        (f"k.{str(link.path).strip('/').replace('/', '.')}", str(link.path))
    }
    assert sorted(tail.lines()) == ["late", "one", "two"]
    assert sorted(rows(link.db)) == [
        (str(link.path), 4, inode(link.real), 0),
        (f"{link.real}.1", 9, inode(Path(f"{link.real}.1")), 1),
    ]


async def test_a_rotation_is_told_and_counted_once(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shipper")
    write(link.real, "one")
    number = inode(link.real)

    async with Tail(f"{link.options}\nrotate_wait 60") as tail:
        await tail.has(1)
        link.real.rename(f"{link.real}.1")
        write(link.real, "two")
        await tail.has(2)
        append(Path(f"{link.real}.1"), "late")
        await tail.has(3)
        rotated = tail.count("files_rotated_total")

    assert rotated == 1
    assert caplog.text.count(f"inode={number} handle rotation(): {link.path} => {link.real}.1") == 1


@pytest.mark.parametrize("watcher", ["on", "off"])
async def test_a_link_that_leads_elsewhere_is_followed_there_after_the_rest_of_its_old_target(
    link: Link, watcher: str
) -> None:
    write(link.real, "one")

    async with Tail(f"{link.options}\ninotify_watcher {watcher}") as tail:
        await tail.has(1)
        append(link.real, "the rest")
        write(link.lead_to("1.log"), "two")
        lines = await tail.has(3)
        await tail.until(lambda: tail.count("files_closed_total") == 1)

    assert lines == ["one", "the rest", "two"]


async def test_the_target_of_a_removed_link_is_read_to_its_end_and_let_go(link: Link) -> None:
    write(link.real, "one")

    async with Tail(link.options) as tail:
        await tail.has(1)
        link.path.unlink()
        append(link.real, "the last")
        lines = await tail.has(2)
        await tail.until(lambda: tail.count("files_closed_total") == 1)
        append(link.real, "written after the end")
        after = await tail.is_quiet(0.4)

    assert lines == after == ["one", "the last"]


async def test_a_link_made_anew_to_the_same_file_repeats_nothing(link: Link) -> None:
    write(link.real, "one")

    async with Tail(link.options) as tail:
        await tail.has(1)
        link.lead_to("0.log")
        append(link.real, "two")
        await tail.has(2)
        lines = await tail.is_quiet(0.4)

    assert lines == ["one", "two"]


async def test_a_deleted_pod_whose_name_comes_back_is_read_from_its_head(link: Link) -> None:
    write(link.real, "one")

    async with Tail(link.options) as tail:
        await tail.has(1)
        link.path.unlink()
        link.real.unlink()
        os.symlink(link.real, link.path)
        write(link.real, "another one")
        lines = await tail.has(2)

    assert lines == ["one", "another one"]
