"""The generator's files hold exactly what its manifest says, whatever was rotated, cut or compressed."""

from __future__ import annotations

import gzip
import itertools
import random
from pathlib import Path

import pytest

from tests.components.generator import ContainerLog, Generator, Settings, message, read_manifest

_SMALL = Settings(rotate_bytes=20_000, keep=1000, partial_share=0.2)


def log_with_fast_clock(root: Path, settings: Settings, seed: int) -> ContainerLog:
    """A log whose clock moves on by 50 ms with every look, so that rotations never share a second."""
    times = itertools.count(1_700_000_000_000_000_000, 50_000_000)
    return ContainerLog(root, "web", settings, random.Random(seed), lambda: next(times))


def written_lines(log: ContainerLog) -> list[bytes]:
    """All lines of a log, oldest file first."""
    files = [*sorted(log.folder.glob("0.log.*")), log.path]
    return [
        line
        for file in files
        for line in (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).splitlines()
    ]


def joined_messages(lines: list[bytes]) -> dict[str, list[str]]:
    """The messages of each std stream, with `P` and `F` parts put together."""
    messages: dict[str, list[str]] = {"stdout": [], "stderr": []}
    begun = {"stdout": b"", "stderr": b""}
    for line in lines:
        _, std, flag, text = (part for part in line.split(b" ", 3))
        name = std.decode()
        begun[name] += text
        if flag == b"F":
            messages[name].append(begun[name].decode())
            begun[name] = b""
    assert begun == {"stdout": b"", "stderr": b""}
    return messages


@pytest.mark.parametrize("inside", [False, True], ids=["between messages", "anywhere"])
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_files_hold_every_message_once_and_in_order(tmp_path: Path, inside: bool, compress: bool) -> None:
    settings = Settings(
        rotate_bytes=20_000, keep=1000, partial_share=0.2, rotate_inside_messages=inside, compress=compress
    )
    log = log_with_fast_clock(tmp_path, settings, seed=3)
    log.open()
    for _ in range(100):
        log.write(10)
    log.close()

    messages = joined_messages(written_lines(log))
    assert log.rotations > 5
    for std, texts in messages.items():
        assert texts == [message(f"web:{std}", n) for n in range(log.written[f"web:{std}"])]


def test_what_a_truncation_swallowed_is_at_risk_and_everything_else_is_there(tmp_path: Path) -> None:
    settings = Settings(way="copytruncate", rotate_bytes=20_000, keep=1000, partial_share=0.2)
    log = log_with_fast_clock(tmp_path, settings, seed=3)
    log.open()
    for _ in range(100):
        log.write(10)
    log.close()

    messages = joined_messages(written_lines(log))
    assert log.rotations > 5
    assert log.at_risk["web:stdout"]
    for std, texts in messages.items():
        stream = f"web:{std}"
        at_risk = set(log.at_risk[stream])
        assert texts == [message(stream, n) for n in range(log.written[stream]) if n not in at_risk]


def test_rotation_between_messages_leaves_whole_messages_in_each_file(tmp_path: Path) -> None:
    log = log_with_fast_clock(tmp_path, _SMALL, seed=1)
    log.open()
    for _ in range(100):
        log.write(10)
    log.close()

    rotated = sorted(log.folder.glob("0.log.*"))
    assert rotated
    assert all(joined_messages(file.read_bytes().splitlines()) for file in rotated)


def test_rotation_anywhere_cuts_some_message_in_two_files(tmp_path: Path) -> None:
    settings = Settings(rotate_bytes=5_000, keep=1000, partial_share=0.9, rotate_inside_messages=True)
    log = log_with_fast_clock(tmp_path, settings, seed=1)
    log.open()
    for _ in range(100):
        log.write(10)
    log.close()

    last_lines = [file.read_bytes().splitlines()[-1] for file in log.folder.glob("0.log.*")]
    assert any(line.split(b" ", 3)[2] == b"P" for line in last_lines)


def test_only_the_newest_rotated_files_are_kept(tmp_path: Path) -> None:
    log = log_with_fast_clock(tmp_path, Settings(rotate_bytes=5_000, keep=2), seed=1)
    log.open()
    for _ in range(100):
        log.write(10)
    log.close()

    assert log.rotations > 2
    assert len(list(log.folder.glob("0.log.*"))) == 2


def test_the_link_leads_to_the_file_being_written(tmp_path: Path) -> None:
    log = log_with_fast_clock(tmp_path, _SMALL, seed=1)
    log.open()
    log.write(1000)
    log.close()

    assert log.link.is_symlink()
    assert log.link.resolve() == log.path
    assert log.path.exists()


def test_message_starts_with_its_address_and_never_changes() -> None:
    text = message("web:stdout", 17)

    assert text.startswith("web:stdout:17 ")
    assert text == message("web:stdout", 17)
    assert len({message("web:stdout", n) for n in range(500)}) == 500


def test_manifest_counts_the_lines_of_all_containers(tmp_path: Path) -> None:
    generator = Generator(tmp_path, ["a", "b"], Settings(partial_share=0), seed=1)

    manifest = generator.run(lines_per_second=20_000, seconds=0.05, report=False)

    files = [link.read_bytes() for link in (tmp_path / "containers").iterdir()]
    assert manifest.messages == sum(data.count(b"\n") for data in files) > 0
    assert manifest.written_bytes == sum(map(len, files))


def test_manifest_file_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"streams":{"a:stdout":3},"rotations":1,"written_bytes":99}')

    manifest = read_manifest(tmp_path / "manifest.json")

    assert (manifest.messages, manifest.rotations, manifest.written_bytes) == (3, 1, 99)
