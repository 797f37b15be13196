from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.log import LineFormatter, Log, configure, tell


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def unchanged_logging() -> Iterator[None]:
    """Loggers belong to the process, so each test puts them back."""
    root = logging.getLogger("shipper")
    before = (root.handlers[:], root.level, root.propagate)
    yield
    for handler in root.handlers:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.level, root.propagate = before
    for name in [n for n in root.manager.loggerDict if n.startswith("shipper.test")]:
        del root.manager.loggerDict[name]


class Gone(io.StringIO):
    """A stream whose writer fails, as that of a pipe does that nobody reads."""

    def __init__(self, error: OSError, file: io.BufferedIOBase) -> None:
        super().__init__()
        self._error, self._file = error, file

    def write(self, text: str) -> int:
        raise self._error

    def fileno(self) -> int:
        return self._file.fileno()


def log_to(level: str = "info", target: io.StringIO | None = None) -> io.StringIO:
    stream = target or io.StringIO()
    configure(level, stream)
    return stream


@pytest.mark.parametrize(("error", "is_let_go"), [(BrokenPipeError(), True), (OSError("no space"), False)])
def test_a_stream_that_fails_is_no_error_and_without_a_reader_leads_nowhere(
    error: OSError, is_let_go: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "pipe").open("wb") as file:
        stream = Gone(error, file)
        log_to(target=stream)
        Log("").info("hello")
        monkeypatch.setattr(sys, "stderr", stream)
        tell("hello")
        monkeypatch.undo()
        leads_to = os.readlink(f"/proc/self/fd/{file.fileno()}")

    assert leads_to == ("/dev/null" if is_let_go else str(tmp_path / "pipe"))
    assert capsys.readouterr().err == ""


def test_a_line_has_time_level_prefix_message_and_fields() -> None:
    stream = log_to()
    Log("[engine] ").info("has stopped", records=3, reason="asked")

    pattern = r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}\] \[ info\] \[engine\] has stopped, records=3, reason=asked\n"
    assert re.fullmatch(pattern, stream.getvalue())


@pytest.mark.parametrize(
    ("method", "shown"),
    [("error", "[error]"), ("warning", "[ warn]"), ("info", "[ info]"), ("debug", "[debug]"), ("trace", "[trace]")],
)
def test_levels_are_shown_in_five_columns(method: str, shown: str) -> None:
    stream = log_to("trace")
    getattr(Log(""), method)("x")

    assert stream.getvalue().endswith(f"{shown} x\n")


@pytest.mark.parametrize(
    ("level", "count"), [("off", 0), ("error", 1), ("warn", 2), ("warning", 2), ("info", 3), ("debug", 4), ("trace", 5)]
)
def test_lines_below_the_level_are_not_printed(level: str, count: int) -> None:
    stream, log = log_to(level), Log("")
    for write in (log.error, log.warning, log.info, log.debug, log.trace):
        write("x")

    assert len(stream.getvalue().splitlines()) == count


def test_an_instance_may_have_a_level_of_its_own() -> None:
    stream = log_to("info")
    chatty, other = Log("[a] ", "test.a"), Log("[b] ", "test.b")
    chatty.set_level("debug")
    chatty.debug("x")
    other.debug("x")

    assert [line[-5:] for line in stream.getvalue().splitlines()] == ["[a] x"]
    assert (chatty.is_on("debug"), other.is_on("debug")) == (True, False)


def test_only_a_terminal_gets_colours() -> None:
    plain, coloured = log_to(), Terminal()
    Log("").error("x")
    log_to(target=coloured)
    Log("").error("x")

    assert "\x1b" not in plain.getvalue()
    assert "\x1b[91merror\x1b[0m" in coloured.getvalue()


def test_a_long_message_is_cut() -> None:
    stream = log_to()
    Log("").info("x" * 10_000)

    assert 4000 < len(stream.getvalue()) < 4100
    assert stream.getvalue().endswith("x ...\n")


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "shipper.log"
    path.write_text("before\n")
    configure("info", str(path))
    Log("").info("after")

    assert path.read_text().startswith("before\n[")


def test_a_file_that_cannot_be_opened_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    stream = log_to()

    with pytest.raises(OSError):
        configure("info", str(tmp_path / "missing" / "shipper.log"))
    Log("").info("x")
    assert stream.getvalue()


def test_configuring_again_prints_no_line_twice() -> None:
    log_to()
    stream = log_to()
    Log("").info("x")

    assert len(stream.getvalue().splitlines()) == 1


def test_a_line_that_repeats_is_printed_once_in_a_while_and_tells_what_was_left_out() -> None:
    stream, now = log_to(), [100.0]
    log = Log("", now=lambda: now[0])
    for _ in range(5):
        log.warning("away", every=30, n=1)
    log.warning("other", every=30)
    now[0] = 130.0
    log.warning("away", every=30, n=1)

    assert [line.split("] ")[-1] for line in stream.getvalue().splitlines()] == [
        "away, n=1",
        "other",
        "away, n=1, repeated=4",
    ]


def suppressing(now: list[float], interval_s: float = 30.0) -> Log:
    log = Log("[output:http:web] ", "test.web", now=lambda: now[0])
    log.suppress(interval_s)
    return log


def lines_of(stream: io.StringIO) -> list[str]:
    return [line.split("] ", 2)[2] for line in stream.getvalue().splitlines()]


def test_lines_of_a_log_that_begin_alike_are_printed_once_in_its_interval_and_counted() -> None:
    stream, now = log_to(), [100.0]
    log = suppressing(now)
    for retry in range(1, 5):
        log.warning("failed to flush chunk", retry=retry)
        now[0] += 10

    assert lines_of(stream) == [
        "[output:http:web] failed to flush chunk, retry=1",
        "[output:http:web] failed to flush chunk, retry=4, similar=2",
    ]


def test_what_all_lines_of_a_log_begin_with_makes_none_alike() -> None:
    stream = log_to()
    log = suppressing([100.0])
    log.warning("a")
    log.warning("b")

    assert lines_of(stream) == ["[output:http:web] a", "[output:http:web] b"]


def test_lines_of_two_levels_are_never_alike() -> None:
    stream = log_to()
    log = suppressing([100.0])
    log.warning("away")
    log.error("away")

    assert len(lines_of(stream)) == 2


def test_a_line_is_held_against_the_last_ten_only() -> None:
    stream = log_to()
    log = suppressing([100.0])
    for text in (*"abcdefghij", "a", "k", "a", "b"):
        log.info(text)

    assert [line[-1] for line in lines_of(stream)] == [*"abcdefghij", "k", "b"]


def test_a_percent_sign_in_a_line_that_was_kept_back_is_printed_as_it_is() -> None:
    stream, now = log_to(), [100.0]
    log = suppressing(now)
    for _ in range(2):
        log.info("100 % of %s")
    now[0] += 30
    log.info("100 % of %s")

    assert lines_of(stream)[1:] == ["[output:http:web] 100 % of %s, similar=1"]


def test_lines_are_printed_every_time_without_an_interval_whatever_it_was_before() -> None:
    stream = log_to()
    suppressing([100.0])
    other = suppressing([100.0], 0)
    other.info("x")
    other.info("x")

    assert len(lines_of(stream)) == 2


def test_an_exception_is_printed_with_its_traceback_which_may_be_left_out_when_it_repeats() -> None:
    stream, log = log_to(), Log("[a] ")
    for _ in range(3):
        try:
            raise ZeroDivisionError("bug")
        except ZeroDivisionError:
            log.exception("failed", every=30, step=1)

    text = stream.getvalue()
    assert text.count("[error] [a] failed, step=1\nTraceback (most recent call last):") == 1
    assert text.endswith("ZeroDivisionError: bug\n")


def test_a_message_with_percent_signs_is_printed_as_it_is() -> None:
    stream = log_to()
    Log("").info("100 % of %s")

    assert stream.getvalue().endswith("100 % of %s\n")


def test_the_time_is_that_of_the_record() -> None:
    record = logging.LogRecord("shipper", logging.INFO, "", 0, "x", (), None)
    record.created, record.msecs = 1_700_000_000.042, 42.0

    assert re.match(r"\[2023/11/1\d \d\d:\d\d:20\.042\]", LineFormatter().format(record))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\n[2026/01/01 00:00:00.000] [error] forged", r"a\n[2026/01/01 00:00:00.000] [error] forged"),
        ("a\r\x1b[2Jb\x85\u2028", r"a\r\x1b[2Jb\x85\u2028"),
        ("a\udcff", r"a\udcff"),
        ("größe 日本 %s \\n", "größe 日本 %s \\n"),
    ],
    ids=["a line", "a terminal", "no text", "text"],
)
def test_what_others_have_written_begins_no_line_and_says_nothing_to_a_terminal(
    name: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, log = log_to(), Log("")
    # The report of a test cannot hold what is no text.
    monkeypatch.setattr(logging.getLogger("shipper"), "propagate", False)
    log.info(f"new file {name}", file=name)
    try:
        raise OSError(name)
    except OSError:
        log.exception("failed")

    lines = stream.getvalue().split("\n")
    assert lines[0].endswith(f"[ info] new file {shown}, file={shown}")
    assert lines[1].endswith("[error] failed")
    assert lines[2] == "Traceback (most recent call last):"
    assert not re.search("[\r\x1b\x85\u2028\udcff]", stream.getvalue())
