"""Users' rows P1 and P2: rotation in the middle of a record."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from .running import Reader, append, cri_parts, numbered


def json_lines(count: int, size: int) -> list[str]:
    """JSON documents of about this size, each with its number."""
    filler = 'naïve ✓ \\ " 😀 ' * (size // 14)
    return [json.dumps({"id": number, "text": filler[number % 7 :]}, ensure_ascii=False) for number in range(count)]


def rotated_inside_records(folder: Path, rotations: int) -> None:
    """Write JSON lines of 90 KB in parts of at most 16 KB and rotate after every third part."""
    rng = random.Random(4711)
    with Reader(folder, "multiline.parser cri\nmem_buf_limit 20M\nrotate_wait 1") as reader:
        reader.log.touch()
        reader.start()
        written: list[str] = []
        made = parts = 0
        while made < rotations:
            document = json_lines(1, 90_000)[0].replace('"id": 0', f'"id": {len(written)}')
            written.append(document)
            for part in cri_parts(document, rng, 16_000):
                append(reader.log, part)
                parts += 1
                if parts % 3 == 0:
                    made += 1
                    reader.log.rename(
                        reader.logs / f"app.log.20260101-{made // 3600:02}{made // 60 % 60:02}{made % 60:02}"
                    )
                    reader.log.touch()
        delivered = reader.until_delivered(len(written), 60)
        reader.stop()

    assert [json.loads(text)["id"] for text in delivered] == list(range(len(written)))
    assert delivered == written


def test_p1_a_record_cut_by_rotation_is_whole(tmp_path: Path) -> None:
    """Scale: 60 rotations instead of 1,000."""
    rotated_inside_records(tmp_path, 60)


@pytest.mark.soak
def test_p1_no_record_is_broken_by_a_thousand_rotations(tmp_path: Path) -> None:
    """As the row says."""
    rotated_inside_records(tmp_path, 1000)


@pytest.mark.parametrize(
    ("outcome", "lines"),
    [
        ("record", ["one", "the tail", "of a line", "two"]),
        ("join", ["one", "the tailof a line", "two"]),
    ],
)
def test_p2_the_unfinished_last_line_of_a_rotated_file_becomes_what_was_configured(
    tmp_path: Path, outcome: str, lines: list[str]
) -> None:
    """As the row says; the end of the file counts as settled after 0.4 s."""
    with Reader(tmp_path, f"unfinished_line_at_rotation {outcome}") as reader:
        reader.log.write_text("one\nthe tail")
        reader.start()
        reader.until_delivered(1)
        reader.log.rename(reader.logs / "app.log.1")
        append(reader.log, "of a line", "two")
        reader.until_delivered(len(lines))
        delivered = reader.when_quiet()
        reader.stop()
        reader.start()
        append(reader.log, *numbered(1, 2))
        after = reader.when_quiet()
        reader.stop()

    assert delivered == lines
    assert after == delivered + numbered(1, 2)


@pytest.mark.parametrize("outcome", ["record", "join"])
def test_p2_a_line_that_is_finished_after_the_rotation_is_whole(tmp_path: Path, outcome: str) -> None:
    """The writer goes on in the renamed file for a moment, within `rotate_wait`."""
    with Reader(tmp_path, f"unfinished_line_at_rotation {outcome}\nrotate_wait 1") as reader:
        reader.log.write_text("one\nthe tail")
        reader.start()
        reader.until_delivered(1)
        rotated = reader.log.rename(reader.logs / "app.log.1")
        append(reader.log, "two")
        time.sleep(0.3)
        append(rotated, " and the rest")
        reader.until_delivered(3)
        delivered = reader.when_quiet()
        reader.stop()

    assert delivered == ["one", "the tail and the rest", "two"]
