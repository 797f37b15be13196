"""Tags, exclusions, and which paths are found."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shipper.disk import SystemDisk
from shipper.inputs.tail import siblings
from shipper.inputs.tail.discovery import Discovery, TagMaker, expand_tag
from shipper.log import Log
from shipper.parsers.onigmo import Regex
from tests.components.rights import DAC_READ_SEARCH, another_user, open_folder

from .running import Tail, append, read_all, write

LONG_ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("tag", "path", "expected"),
    [
        ("application.*", "/var/log/containers/a_b-c.log", "application.var.log.containers.a_b-c.log"),
        ("*", "/srv/x/a.log", "srv.x.a.log"),
        ("k.*.x", "/srv/a.log", "k.srv.a.log.x"),
        ("pre*post", "/srv/a.log", "pre.srv.a.logpost"),
        ("a.*.*", "/srv/a.log", "a.srv.a.log"),
        (r"a/b\c:d.*", "/srv/a.log", "a.b.c.d.srv.a.log"),
        ("plain/tag", "/srv/a.log", "plain/tag"),
        ("*.", "/srv/a.log", "srv.a.log"),
        ("t.*", "/srv/d.d/b..log", "t.srv.d.d.b.log"),
        ("t.*", "/srv/sp ace/c d.log", "t.srv.sp ace.c d.log"),
        ("t.*", "/srv/w*s.log", "t.srv.ws.log"),
        ("t.*", "/srv/end.", "t.srv.end"),
        ("rel.*", "./a.log", "rel.a.log"),
    ],
)
def test_a_star_in_the_tag_stands_for_the_path(tag: str, path: str, expected: str) -> None:
    assert expand_tag(tag, path) == expected


@pytest.mark.parametrize(
    ("tag", "regex", "path", "expected"),
    [
        (
            "kube.<ns>.<pod>.<c>",
            r"(?<pod>[a-z0-9]+(?:-[a-z0-9]+)*)_(?<ns>[^_]+)_(?<c>.+)-(?<id>[a-z0-9]{64})\.log$",
            f"/var/log/containers/pod-1_ns_cont-{LONG_ID}.log",
            "kube.ns.pod-1.cont",
        ),
        ("x.<nope>.<n>", r"(?<n>[a-z]+)\.log$", "/srv/a.log", "x._.a"),
        ("x.<n>.*", r"(?<n>[a-z]+)\.log$", "/srv/a.log", "x.a.*"),
        ("x.<n>", r"^/(?<n>.+)\.log$", "/srv/a.log", "x.srv/a"),
        ("x.<n>.<m>", r"(?<n>[a-z]+)\.(?<m>nothing)?log$", "/srv/a.log", "x.a._"),
        ("x.<n>.<m>", r"(?<n>[a-z]+)(?<m>[0-9]*)\.log$", "/srv/a.log", "x.a._"),  # an empty one counts as none
        ("x.<n>", r"(?<n>[a-z]+)\.txt$", "/srv/a.log", None),
    ],
)
def test_groups_of_the_path_fill_the_tag(tag: str, regex: str, path: str, expected: str | None) -> None:
    assert TagMaker(tag, Regex(regex)).tag_of(path) == expected


@pytest.mark.parametrize(
    ("path", "tag", "tag_with_groups"),
    [
        ("/a\nevil: [1, {}].log", "t.a_evil. [1, {}].log", "t.a_evil: [1, {}]"),
        ("/a\x1b[2J\r\udcff.log", "t.a_[2J__.log", "t.a_[2J__"),
        ("/größe 日本.log", "t.größe 日本.log", "t.größe 日本"),
    ],
)
def test_what_a_file_is_called_ends_no_line_in_its_tag(path: str, tag: str, tag_with_groups: str) -> None:
    assert TagMaker("t.*", None).tag_of(path) == tag
    assert TagMaker("t.<n>", Regex(r"^/(?<n>(?m:.+))\.log$")).tag_of(path) == tag_with_groups


async def test_a_file_may_be_called_by_several_lines(tmp_path: Path) -> None:
    write(tmp_path / "a\nb.log", "one")

    tail = await read_all(f"path {tmp_path}/*.log\nread_from_head on\ntag t.*", 1)

    assert [tag.removeprefix("t." + str(tmp_path)[1:].replace("/", ".")) for tag in tail.tags()] == [".a_b.log"]


async def test_a_path_without_the_tag_regex_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.log", "taken")
    write(tmp_path / "b1.log", "left out")

    tail = await read_all(f"path {tmp_path}/*.log\nread_from_head on\ntag x.<n>\ntag_regex /(?<n>[a-z]+)\\.log$", 1)

    assert tail.lines() == ["taken"]
    assert tail.tags() == ["x.a"]


@pytest.mark.parametrize(
    ("pattern", "exclude", "expected"),
    [
        ("*.log", "", ["a.log", "b.log"]),
        ("*.log", "*/b*", ["a.log"]),
        ("*.log", "b*", ["a.log", "b.log"]),
        ("*", "*.gz,*.zip", ["a.log", "b.log"]),
        ("*.log,*.log", "", ["a.log", "b.log"]),
        ("b.log,a.log", "", ["b.log", "a.log"]),
        ("[a].log", "", ["a.log"]),
        ("missing.log", "", []),
        ("**/a.log", "", []),
        ("{a,b}.log", "", []),
    ],
)
def test_globs_find_regular_files_without_the_excluded(
    tmp_path: Path, pattern: str, exclude: str, expected: list[str]
) -> None:
    for name in ("a.log", "b.log", "c.gz", "d.zip"):
        write(tmp_path / name, "x")
    (tmp_path / "folder.log").mkdir()
    patterns = [f"{tmp_path}/{p}" for p in pattern.split(",")]
    discovery = Discovery(patterns, [e for e in exclude.split(",") if e], SystemDisk(), Log(""))

    found = discovery.scan()

    assert [os.path.basename(path) for path, _ in found] == expected


def test_a_file_made_in_the_same_tick_as_the_last_look_is_noticed(tmp_path: Path) -> None:
    discovery = Discovery([f"{tmp_path}/*.log"], [], SystemDisk(), Log(""))
    write(tmp_path / "a.log", "x")
    discovery.has_changed()
    discovery.scan()
    times = os.stat(tmp_path)
    write(tmp_path / "b.log", "x")
    os.utime(tmp_path, ns=(times.st_atime_ns, times.st_mtime_ns))

    changed = discovery.has_changed()

    assert changed


def test_a_link_whose_target_comes_later_is_noticed(tmp_path: Path) -> None:
    links, real = tmp_path / "links", tmp_path / "real"
    links.mkdir()
    real.mkdir()
    (links / "c.log").symlink_to(real / "0.log")
    os.utime(links, (1_700_000_000,) * 2)
    discovery = Discovery([f"{links}/*.log"], [], SystemDisk(), Log(""))
    discovery.has_changed()
    assert discovery.scan() == []
    unchanged = discovery.has_changed()
    write(real / "0.log", "x")

    changed = discovery.has_changed()

    assert (unchanged, changed) == (False, True)


async def test_a_folder_that_appears_later_is_read_from_its_first_line(tmp_path: Path) -> None:
    async with Tail(f"path {tmp_path}/pods/*/*.log") as tail:
        await tail.until(lambda: tail.input._looking.has_scanned)
        (tmp_path / "pods" / "a").mkdir(parents=True)
        write(tmp_path / "pods" / "a" / "0.log", "hello")
        lines = await tail.has(1)

    assert lines == ["hello"]


async def test_a_link_and_its_target_are_one_file(tmp_path: Path) -> None:
    links, real = tmp_path / "links", tmp_path / "real"
    links.mkdir()
    real.mkdir()
    write(real / "0.log", "once")
    (links / "c.log").symlink_to(real / "0.log")

    async with Tail(f"path {links}/*.log,{real}/*.log\nread_from_head on\ntag t.*") as tail:
        await tail.has(1)
        append(real / "0.log", "twice")
        lines = await tail.is_quiet()

    assert lines == ["once", "twice"]
    assert {tag.split(".")[-2] for tag in tail.tags()} == {"c"}


class DeniedDisk(SystemDisk):
    """The real disk, but one path cannot be opened while `is_denied`."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.is_denied = True
        self.open = self._open  # type: ignore[method-assign]

    def _open(self, path: str, flags: int, mode: int = 0o600) -> int:
        if self.is_denied and path == self._path:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return os.open(path, flags, mode)


async def test_a_file_that_cannot_be_opened_is_read_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.log", "secret")
    write(tmp_path / "b.log", "public")
    disk = DeniedDisk(tmp_path / "a.log")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on", disk=disk) as tail:
        first = await tail.has(1)
        disk.is_denied = False
        lines = await tail.has(2)

    assert first == ["public"]
    assert lines == ["public", "secret"]
    assert f"check permissions: {tmp_path}/a.log; it is tried again; give the process the capability" in caplog.text
    assert "DAC_READ_SEARCH" in caplog.text
    assert "inotify" not in caplog.text


class UnseenDisk(SystemDisk):
    """The real disk, but nothing is told of files."""

    def __init__(self) -> None:
        self.stat = self._stat  # type: ignore[assignment]  # the real one takes more

    def _stat(self, path: str) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", path)


def test_a_file_in_a_folder_that_may_not_be_searched_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = Discovery([f"{tmp_path}/a.log"], [], UnseenDisk(), Log("")).scan()

    assert found == []
    assert f"check permissions: {tmp_path}/a.log; give the process the capability DAC_READ_SEARCH" in caplog.text


@pytest.mark.parametrize(
    ("denied", "pattern"), [("", "*.log"), ("", "*/*.log"), ("pods", "pods/*/*.log"), ("pods/b", "pods/*/*.log")]
)
def test_a_folder_that_may_not_be_read_is_named(caplog: pytest.LogCaptureFixture, denied: str, pattern: str) -> None:
    with open_folder() as root:
        (root / "pods" / "a").mkdir(parents=True)
        (root / "pods" / "b").mkdir()
        folder = root / denied
        folder.chmod(0)
        with another_user():
            found = Discovery([f"{root}/{pattern}"], [], SystemDisk(), Log("")).scan()
        folder.chmod(0o755)

    assert found == []
    [record] = caplog.records
    assert f"NO read access for path: {root}/{pattern}; give the process" in record.getMessage()
    assert f"folder={folder}" in record.getMessage()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to give a capability")
@pytest.mark.parametrize("pattern", ["*.log", "pods/*/*.log", "pods/a/0.log"])
def test_a_folder_that_a_capability_opens_is_not_complained_about(
    caplog: pytest.LogCaptureFixture, pattern: str
) -> None:
    with open_folder() as root:
        (root / "pods" / "a").mkdir(parents=True)
        for folder in (root, root / "pods", root / "pods" / "a"):
            folder.chmod(0o700)
        with another_user(DAC_READ_SEARCH):
            Discovery([f"{root}/{pattern}"], [], SystemDisk(), Log("")).scan()

    assert caplog.text == ""


def test_a_folder_that_is_only_gone_through_need_not_be_readable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open_folder() as root:
        (root / "logs").mkdir()
        monkeypatch.chdir(root / "logs")
        root.chmod(0o711)
        with another_user():
            Discovery([f"{root}/logs/*.log", "*.nothing"], [], SystemDisk(), Log("")).scan()

    assert caplog.text == ""


class BrokenDisk(SystemDisk):
    """The real disk, but reading from one file fails while `is_broken`."""

    def __init__(self, path: Path) -> None:
        self._inode = os.stat(path).st_ino
        self.is_broken = True
        self.pread = self._pread

    def _pread(self, fd: int, size: int, offset: int) -> bytes:
        if self.is_broken and os.fstat(fd).st_ino == self._inode:
            raise OSError(errno.EIO, "Input/output error")
        return os.pread(fd, size, offset)


async def test_a_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a.log", "broken")
    write(tmp_path / "b.log", "whole")
    disk = BrokenDisk(tmp_path / "a.log")

    async with Tail(f"path {tmp_path}/*.log\nread_from_head on", disk=disk) as tail:
        first = await tail.has(1)
        disk.is_broken = False
        lines = await tail.has(2)

    assert first == ["whole"]
    assert lines == ["whole", "broken"]


class CountingDisk(SystemDisk):
    """Notes how often folders are listed."""

    def __init__(self) -> None:
        self.listings = 0

    def listdir(self, path: str) -> list[str]:
        self.listings += 1
        return super().listdir(path)


async def test_a_folder_at_rest_is_not_listed_once_for_each_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "_QUIET_NS", 0)  # else a folder is at rest after two seconds
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(100):
        write(folder / f"{number:03}.log", "x")
    disk = CountingDisk()

    async with Tail(f"path {folder}/*.log\nread_from_head on", disk=disk) as tail:
        await tail.has(100)
        at_rest = disk.listings
        append(folder / "new.log", "y")
        lines = await tail.has(101)

    assert at_rest <= 10
    assert lines[-1] == "y"
