"""Files of which long stretches give no text are gone through in turns, whatever is wanted of them."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from shipper.inputs.tail import source as module
from shipper.inputs.tail.compressed import GzipConverter
from shipper.inputs.tail.source import Break, Source

NO_TEXT = {"padding": b"\0" * 2**25, "empty members": gzip.compress(b"") * 5000}
MOST_TURNS = 1000


@pytest.fixture
def source_of(tmp_path: Path) -> Iterator[Callable[[bytes, Break], Source]]:
    fds = []

    def made(content: bytes, start: Break) -> Source:
        path = tmp_path / "a.gz"
        path.write_bytes(content)
        fds.append(os.open(path, os.O_RDONLY))
        return Source(SystemDisk(), fds[-1], start, len(content), lambda _: GzipConverter(None), lambda *_: None)

    yield made
    for fd in fds:
        os.close(fd)


def turns_until(source: Source, offset: int) -> tuple[int, bytes]:
    """How many reads give nothing, and what the first other gives."""
    for turn in range(MOST_TURNS):
        if data := source.read(100, offset):
            return turn, data
        assert source.text_size(offset) > offset
    raise AssertionError("there was no text")


@pytest.mark.parametrize("kind", NO_TEXT)
def test_what_gives_no_text_takes_more_than_one_turn(source_of: Callable[[bytes, Break], Source], kind: str) -> None:
    source = source_of(NO_TEXT[kind] + gzip.compress(b"one\n"), Break(0, 0))

    turns, data = turns_until(source, 0)

    assert turns > 0
    assert data == b"one\n"


def test_spans_on_both_sides_of_a_long_stretch_are_read_in_turns(source_of: Callable[[bytes, Break], Source]) -> None:
    content = gzip.compress(b"zero\none\n") + NO_TEXT["padding"] + gzip.compress(b"two\nthree\n")
    source = source_of(content, Break(0, 0))
    spans = [(5, 9), (9, 13)]

    first = source.read_spans(spans)
    found = next(found for _ in range(MOST_TURNS) if (found := source.read_spans(spans)) is not None)

    assert first is None
    assert found == [b"one\n", b"two\n"]
    assert source.read(100, 13) == b"three\n"


def test_the_way_to_a_position_inside_a_member_is_gone_in_turns(source_of: Callable[[bytes, Break], Source]) -> None:
    compressor = zlib.compressobj(wbits=31)
    before = NO_TEXT["padding"] + compressor.compress(b"one\n") + compressor.flush(zlib.Z_SYNC_FLUSH)
    content = before + compressor.compress(b"two\n") + compressor.flush() + gzip.compress(b"three\n")
    source = source_of(content, Break(500, len(before)))

    turns, data = turns_until(source, 500)

    assert turns > 0
    assert data == b"two\nthree\n"
    assert source.break_before(504) == Break(504, len(content) - len(gzip.compress(b"three\n")))


def test_places_to_begin_at_are_forgotten_when_they_become_too_many_but_the_first_is_kept(
    source_of: Callable[[bytes, Break], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_BREAKS", 10)
    one = gzip.compress(b"one\n")
    source = source_of(one * 100, Break(0, 0))

    text = source.read(1000, 0)
    kept = dict.fromkeys(source.break_before(offset) for offset in range(len(text) + 1))

    assert text == b"one\n" * 100
    assert next(iter(kept)) == Break(0, 0)
    assert 1 < len(kept) <= 10
    assert kept.keys() <= {Break(4 * number, len(one) * number) for number in range(101)}
