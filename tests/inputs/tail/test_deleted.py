"""Deleted files that stay open are let go when they take more than the user allows."""

from __future__ import annotations

from pathlib import Path

from .running import Tail, rows, write


async def test_beyond_the_size_only_as_many_of_the_oldest_are_let_go_as_it_takes(tmp_path: Path) -> None:
    paths, db = [tmp_path / f"{name}.log" for name in "abcd"], tmp_path / "p.db"
    for path in paths:
        write(path, "x" * 999)

    options = f"path {tmp_path}/*.log\nread_from_head on\ndb {db}\ndeleted_files_limit 3500"
    async with Tail(options, settling="later") as tail:
        await tail.has(4)
        for path in paths:
            path.unlink()
        await tail.until(lambda: tail.count("files_closed_total") > 0)
        await tail.is_quiet()
        tail.save()
        held = rows(db, "name")
        closed = tail.count("files_closed_total")

    assert closed == 1
    assert held == [(str(path),) for path in paths[1:]]
