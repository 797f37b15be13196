"""A copy made by copytruncate that ends before what was read: what was written while it was made is not in it."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from .running import Settling, Tail, append, numbered, write

CRI = "2026-01-01T00:00:00.000000001Z"
LINES = [f"{CRI} stdout F {number:04d}{'x' * (number % 7)}" for number in range(60)]


def options(folder: Path, more: str = "multiline.parser cri") -> str:
    return f"path {folder}/a.log\nread_from_head on\ndb {folder}/p.db\nrotate_wait 50\n{more}"


def compress(copy: Path) -> None:
    copy.with_name(f"{copy.name}.gz").write_bytes(gzip.compress(copy.read_bytes()))
    copy.unlink()


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("settling", ["at once", "later"])
async def test_nothing_of_it_is_read_again(tmp_path: Path, settling: Settling, is_compressed: bool) -> None:
    path, copy = tmp_path / "a.log", tmp_path / "a.log.20260101-101010"
    write(path, *LINES)

    async with Tail(options(tmp_path), settling=settling) as tail:
        await tail.has(60)
        shutil.copy(path, copy)
        append(path, f"{CRI} stdout F late", f"{CRI} stdout P begun ")
        await tail.has(61)
        if is_compressed:
            compress(copy)
        os.truncate(path, 0)
        append(path, f"{CRI} stdout F ended", f"{CRI} stdout F next")
        lines = await tail.has(63)
        tail.settle()
        tail.save()
        await tail.kill()
    async with Tail(options(tmp_path)) as after:
        again = await after.is_quiet()

    assert lines[60:] == ["late", "begun ended", "next"]
    assert again == []


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("second_part", [[], ["second "]], ids=["whole in the copy", "half in the copy"])
@pytest.mark.parametrize("place", [30, 60], ids=["in its middle", "at its end"])
async def test_an_open_record_is_read_again_as_far_as_the_copy_has_it(
    tmp_path: Path, place: int, second_part: list[str], is_compressed: bool
) -> None:
    path, copy = tmp_path / "a.log", tmp_path / "a.log.20260101-101010"
    write(path, *LINES[:place], f"{CRI} stderr P first ", *LINES[place:])

    async with Tail(options(tmp_path)) as tail:
        await tail.has(60)
        shutil.copy(path, copy)
        append(path, *[f"{CRI} stderr P {text}" for text in second_part], f"{CRI} stdout F late")
        await tail.has(61)
        if is_compressed:
            compress(copy)
        os.truncate(path, 0)
        append(path, f"{CRI} stdout F next")
        await tail.has(62)
        tail.save()
        await tail.kill()
    append(path, f"{CRI} stderr F end")
    async with Tail(options(tmp_path)) as after:
        again = await after.is_quiet()

    assert again == ["first end"]


async def test_a_kill_between_copy_and_truncation_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *numbered(1, 500))

    async with Tail(options(tmp_path, "")) as tail:
        await tail.has(500)
        shutil.copy(path, tmp_path / "a.log.1")
        append(path, "late")
        await tail.has(501)
        tail.save()
        await tail.kill()
    os.truncate(path, 0)
    append(path, "next")
    async with Tail(options(tmp_path, "")) as after:
        again = await after.is_quiet()

    assert again == ["next"]


async def test_an_older_copy_that_begins_with_the_same_words_is_not_taken_for_it(tmp_path: Path) -> None:
    path, banner = tmp_path / "a.log", "# " + "banner " * 60
    write(tmp_path / "a.log.1", banner, *[f"old {number}" for number in range(5)])
    write(path, banner, *numbered(1, 100))

    async with Tail(options(tmp_path, "")) as tail:
        await tail.has(101)
        (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
        append(path, "unread 1", "unread 2")
        shutil.copy(path, tmp_path / "a.log.1")
        write(path, banner, "next")
        lines = await tail.is_quiet()

    assert lines == [banner, *numbered(1, 100), "unread 1", "unread 2", banner, "next"]


async def test_a_copy_made_by_hand_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, *numbered(1, 900))

    async with Tail(options(tmp_path, "")) as tail:
        await tail.has(900)
        shutil.copy(path, tmp_path / "a.log.bak")
        append(path, *numbered(901, 1000))
        await tail.has(1000)
        shutil.copy(path, tmp_path / "a.log.1")
        os.truncate(path, 0)
        append(path, "next")
        lines = await tail.is_quiet()

    assert lines == [*numbered(1, 1000), "next"]
