"""Fluent Bit and we take turns on one database, and every line is read once."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from .fluent_bit import VERSIONS, FluentBit
from .running import Tail, append, inode, numbered, rows, write

BY_VERSION = pytest.mark.parametrize("columns", VERSIONS.values(), ids=VERSIONS)


class Turns:
    """Both programs on the files `*.log` of a folder and one database."""

    def __init__(self, folder: Path, columns: tuple[str, ...]) -> None:
        self.folder = folder
        self.db = folder / "state" / "p.db"
        self.db.parent.mkdir()
        self.fluent_bit = FluentBit(self.db, folder / "*.log", columns)

    async def we(self) -> list[str]:
        async with Tail(f"path {self.folder}/*.log\nread_from_head on\ndb {self.db}") as tail:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):  # a busy machine may take long to begin
                    await tail.has(1)
            return await tail.is_quiet(0.15)

    async def they(self) -> list[str]:
        return self.fluent_bit.run()


ORDERS = ["we they we they", "they we they we", "they they we we they we"]


@BY_VERSION
@pytest.mark.parametrize("order", ORDERS)
async def test_files_that_grow_are_read_by_turns(tmp_path: Path, columns: tuple[str, ...], order: str) -> None:
    turns = Turns(tmp_path, columns)
    for turn, who in enumerate(order.split()):
        append(tmp_path / "a.log", *numbered(10 * turn, 10 * turn + 9))
        append(tmp_path / "b.log", f"b {turn}")
        with (tmp_path / "c.log").open("a") as file:
            file.write(f"end of {turn - 1}\nbegin of {turn} " if turn else "begin of 0 ")

        lines = await getattr(turns, who)()

        finished = [f"begin of {turn - 1} end of {turn - 1}"] if turn else []
        assert sorted(lines) == sorted([*numbered(10 * turn, 10 * turn + 9), f"b {turn}", *finished])
    ids = [row[0] for row in rows(turns.db, "id")]
    assert len(ids) == len({row[0] for row in rows(turns.db, "inode")}) == 3


@BY_VERSION
@pytest.mark.parametrize("order", ["we they", "they we"])
@pytest.mark.parametrize("lines", [1, 3, 40], ids="{} lines".format)
async def test_a_file_with_new_content_is_read_from_its_head_by_the_other(
    tmp_path: Path, columns: tuple[str, ...], order: str, lines: int
) -> None:
    if "offset_marker" not in columns and lines > 2:
        pytest.skip("this version cannot tell a longer content from one that has grown")
    turns = Turns(tmp_path, columns)
    first, second = order.split()
    write(tmp_path / "a.log", *numbered(1, 2))
    await getattr(turns, first)()
    write(tmp_path / "a.log", *numbered(101, 100 + lines))

    seen = await getattr(turns, second)()

    assert seen == numbered(101, 100 + lines)


@BY_VERSION
@pytest.mark.parametrize("order", ["we they we", "they we they"])
async def test_a_deleted_file_leaves_no_row_that_could_deceive_the_other(
    tmp_path: Path, columns: tuple[str, ...], order: str
) -> None:
    turns = Turns(tmp_path, columns)
    first, second, third = order.split()
    write(tmp_path / "a.log", *numbered(1, 5))
    write(tmp_path / "b.log", "b")
    await getattr(turns, first)()
    (tmp_path / "a.log").unlink()
    await getattr(turns, second)()
    write(tmp_path / "c.log", *numbered(6, 20))

    seen = await getattr(turns, third)()

    assert seen == numbered(6, 20)
    assert sorted(rows(turns.db, "name, inode")) == [
        (str(tmp_path / name), inode(tmp_path / name)) for name in ("b.log", "c.log")
    ]
