"""Every option of the tail input with its default, and what its values mean."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import ConfigError
from shipper.inputs.tail.options import TailOptions
from shipper.testing import ManualClock

from ...written_options import options_from
from .running import Tail

DEFAULTS: list[tuple[str, Any]] = [
    ("exclude_path", ()),
    ("key", "log"),
    ("read_from_head", False),
    ("read_newly_discovered_files_from_head", True),
    ("refresh_interval", 60),
    ("watcher_interval", 2),
    ("progress_check_interval", 2),
    ("progress_check_interval_nsec", 0),
    ("rotate_wait", 5),
    ("ignore_older", 0),
    ("ignore_active_older_files", False),
    ("buffer_chunk_size", 32_768),
    ("buffer_max_size", 32_768),
    ("static_batch_size", 50_000_000),
    ("event_batch_size", 50_000_000),
    ("skip_long_lines", False),
    ("truncate_long_lines", False),
    ("skip_empty_lines", False),
    ("exit_on_eof", False),
    ("path_key", None),
    ("offset_key", None),
    ("parser", None),
    ("tag_regex", None),
    ("multiline_parser", ()),
    ("multiline", False),
    ("multiline_flush", 4),
    ("parser_firstline", None),
    ("parser_n", ()),
    ("docker_mode", False),
    ("docker_mode_flush", 4),
    ("docker_mode_parser", None),
    ("db", None),
    ("db_sync", "normal"),
    ("db_locking", False),
    ("db_journal_mode", "WAL"),
    ("db_compare_filename", False),
    ("file_cache_advise", True),
    ("inotify_watcher", True),
    ("unicode_encoding", None),
    ("generic_encoding", None),
]
WRITTEN: list[tuple[str, str, Any]] = [
    ("Path /a/*.log, /b.log,/c", "path", ("/a/*.log", "/b.log", "/c")),
    ("Exclude_Path *.gz,*.zip", "exclude_path", ("*.gz", "*.zip")),
    ("Key message", "key", "message"),
    ("Read_from_Head On", "read_from_head", True),
    ("read_newly_discovered_files_from_head off", "read_newly_discovered_files_from_head", False),
    ("Refresh_Interval 10", "refresh_interval", 10),
    ("Refresh_Interval 0.5", "refresh_interval", 0.5),
    ("Refresh_Interval 5m", "refresh_interval", 5),
    ("watcher_interval 1m", "watcher_interval", 60),
    ("progress_check_interval 3s", "progress_check_interval", 3),
    ("progress_check_interval_nsec 500", "progress_check_interval_nsec", 500),
    ("Rotate_Wait 30", "rotate_wait", 30),
    ("Rotate_Wait 2h", "rotate_wait", 7200),
    ("Ignore_Older 1d", "ignore_older", 86_400),
    ("Ignore_Older 90", "ignore_older", 90),
    ("ignore_active_older_files yes", "ignore_active_older_files", True),
    ("Buffer_Chunk_Size 1k", "buffer_chunk_size", 1000),
    ("Buffer_Max_Size 5MB", "buffer_max_size", 5_000_000),
    ("Buffer_Max_Size 100k", "buffer_max_size", 100_000),
    ("static_batch_size 1M", "static_batch_size", 1_000_000),
    ("event_batch_size 1M", "event_batch_size", 1_000_000),
    ("Skip_Long_Lines on", "skip_long_lines", True),
    ("truncate_long_lines on", "truncate_long_lines", True),
    ("Skip_Empty_Lines on", "skip_empty_lines", True),
    ("Exit_On_Eof true", "exit_on_eof", True),
    ("Path_Key file", "path_key", "file"),
    ("Offset_Key at", "offset_key", "at"),
    ("Parser docker", "parser", "docker"),
    ("multiline.parser docker, cri", "multiline_parser", ("docker", "cri")),
    ("multiline.parser docker\nmultiline.parser cri,go", "multiline_parser", ("docker", "cri", "go")),
    ("Multiline on\nParser_Firstline a", "parser_firstline", "a"),
    ("Multiline_Flush 1m", "multiline_flush", 60),
    ("Parser_1 a\nParser_2 b\nParser_N c", "parser_n", ("a", "b", "c")),
    ("Docker_Mode on", "docker_mode", True),
    ("Docker_Mode_Flush 8", "docker_mode_flush", 8),
    ("Docker_Mode_Parser a", "docker_mode_parser", "a"),
    ("DB /var/log/flb.db", "db", "/var/log/flb.db"),
    ("DB.Sync extra", "db_sync", "extra"),
    ("DB.Sync Full", "db_sync", "full"),
    ("DB.Sync off", "db_sync", "off"),
    ("DB.Locking true", "db_locking", True),
    ("DB.journal_mode delete", "db_journal_mode", "DELETE"),
    ("DB.journal_mode TRUNCATE", "db_journal_mode", "TRUNCATE"),
    ("DB.compare_filename on", "db_compare_filename", True),
    ("file_cache_advise off", "file_cache_advise", False),
    ("Inotify_Watcher false", "inotify_watcher", False),
    ("unicode.encoding utf-16le", "unicode_encoding", "utf-16le"),
    ("generic.encoding ShiftJIS", "generic_encoding", "ShiftJIS"),
]
REFUSED = [
    ("refresh_interval 0", "refresh_interval"),
    ("rotate_wait 0", "rotate_wait"),
    ("buffer_chunk_size 64k", "buffer_max_size must be >= buffer_chunk"),
    ("buffer_max_size 16k", "buffer_max_size must be >= buffer_chunk"),
    ("db.sync sometimes", "db.sync"),
    ("db.journal_mode quick", "db.journal_mode"),
    ("multiline on", "multiline: no parser defined for firstline"),
    ("docker_mode on\nmultiline on\nparser_firstline a", "docker_mode"),
    ("unicode.encoding auto\ngeneric.encoding GBK", "generic.encoding"),
    ("read_from_head maybe", "read_from_head"),
    ("tag_regex (?<a>x", "tag_regex"),
    ("bufer_max_size 1M", "did you mean 'buffer_max_size'?"),
]


@pytest.mark.parametrize(("name", "default"), DEFAULTS)
def test_an_option_that_is_not_written_has_its_default(name: str, default: object) -> None:
    options = options_from(TailOptions, "path /x", "input")

    assert getattr(options, name) == default


@pytest.mark.parametrize(("lines", "name", "value"), WRITTEN)
def test_an_option_means_what_it_means_to_fluent_bit(lines: str, name: str, value: object) -> None:
    options = options_from(TailOptions, lines if name == "path" else f"path /x\n{lines}", "input")

    assert getattr(options, name) == value


@pytest.mark.parametrize(("lines", "words"), REFUSED)
def test_a_value_that_cannot_work_stops_the_start(lines: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        options_from(TailOptions, f"path /x\n{lines}", "input")

    assert words in str(refused.value).lower()


@pytest.mark.parametrize(
    ("lines", "shortest_s", "warnings"),
    [
        ("progress_check_interval 3", 1.0, 0),
        ("progress_check_interval 0\nprogress_check_interval_nsec 500000000", 0.5, 0),
        ("progress_check_interval 0", 1.0, 1),
        ("progress_check_interval 0\nprogress_check_interval_nsec -1", 1.0, 1),
        ("progress_check_interval 0\nprogress_check_interval_nsec 1", 0.05, 0),
    ],
)
async def test_between_two_looks_at_the_files_there_is_always_a_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: str, shortest_s: float, warnings: int
) -> None:
    rests: list[float] = []

    class NotedClock(ManualClock):
        async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
            if seconds is not None:
                rests.append(seconds)
            return await super().wait(event, seconds)

    async with Tail(f"path {tmp_path}/*.log\n{lines}\nrefresh_interval 1000", clock=NotedClock()) as tail:
        await tail.until(lambda: len(rests) > 1)  # those of the reader, and of what looks at files and folders

    assert min(rests) == shortest_s
    assert caplog.text.count("progress_check_interval is not above 0") == warnings
