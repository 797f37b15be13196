"""head: what of a file becomes a record, and when."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shipper.errors import ConfigError
from shipper.inputs.head import HeadInput, HeadOptions
from shipper.record import Body
from shipper.testing import ManualClock, context_of

from ..written_options import options_from
from .collected import Collected


def head(path: Path, lines: str = "") -> Collected:
    clock = ManualClock()
    options = options_from(HeadOptions, f"file {path}\n{lines}", "input")
    return Collected(HeadInput(options, context_of("input", "head.0", clock)), clock)


@pytest.mark.parametrize(
    ("lines", "content", "expected"),
    [
        ("", "x" * 300, {"head": "x" * 256}),
        ("buf_size 10", "0123456789abcdef\nmore\n", {"head": "0123456789"}),
        ("key text", "a\nb", {"text": "a\nb"}),
        ("lines 2", "l1\nl2\nl3\n", {"head": "l1\nl2\n"}),
        ("lines 2\nbuf_size 1", "l1\nl2\nl3\n", {"head": "l1\nl2\n"}),
        ("lines 5", "l1\nl2", {"head": "l1\nl2"}),
        ("lines 2\nsplit_line on", "l1\nl2\nl3\n", {"line0": "l1", "line1": "l2"}),
        ("lines 3\nsplit_line on", "l1\n", {"line0": "l1", "line1": "", "line2": ""}),
        ("lines 1\nsplit_line on", "without end", {"line0": "without end"}),
        ("split_line on", "a\n" * 12, {f"line{n}": "a" for n in range(10)}),
        ("lines -1", "abc", {"head": "abc"}),
        ("", "", {"head": ""}),
    ],
)
async def test_the_beginning_of_the_file(tmp_path: Path, lines: str, content: str, expected: Body) -> None:
    path = tmp_path / "f.txt"
    path.write_text(content)
    async with head(path, lines) as one:
        assert await one.after(1.5) == [expected]


@pytest.mark.parametrize(("lines", "keys"), [("", ["head", "path"]), ("lines 1\nsplit_line on", ["path", "line0"])])
async def test_the_path_is_added_on_request(tmp_path: Path, lines: str, keys: list[str]) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a\n")
    async with head(path, f"add_path on\n{lines}") as one:
        (body,) = await one.after(1.5)

    assert list(body) == keys
    assert body["path"] == str(path)


@pytest.mark.parametrize(
    ("lines", "count"), [("", 9), ("interval_sec 3", 3), ("interval_sec 0\ninterval_nsec 500000000", 19)]
)
async def test_one_record_an_interval(tmp_path: Path, lines: str, count: int) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a")
    async with head(path, lines) as one:
        assert len(await one.after(9.9)) == count


async def test_a_file_that_is_not_there_is_told_and_looked_for_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "f.txt"
    with caplog.at_level(logging.ERROR, "shipper"):
        async with head(path) as one:
            assert await one.after(2.5) == []
            path.write_text("a")
            assert await one.after(1) == [{"head": "a"}]

    assert len([m for m in caplog.messages if "cannot be read" in m]) == 1


def test_the_file_is_required() -> None:
    with pytest.raises(ConfigError, match="file"):
        options_from(HeadOptions, "key a", "input")
