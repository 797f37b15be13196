"""The shipper as a process of its own: signals, exit codes, and what it leaves on the standard streams and the disk."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .faults.ledger import assert_balanced, read_ledger

LONGEST_WAIT_S = 20.0
LOG_LINE = re.compile(
    r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}\] \[(error| warn| info|debug|trace)\] \S.*"
    r"|\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\] \[engine\] caught signal \((SIGTERM|SIGINT|SIGQUIT)\)"
)

PIPELINE = """
[SERVICE]
    Flush 0.2
    Grace {grace}

[INPUT]
    Name tail
    Path {folder}/app.log
    DB   {folder}/tail.db
    Read_From_Head on
    {tail}

[OUTPUT]
    Name   {output}
    Match  *
    {more}
"""
TO_FILE = "Path {folder}\n    File out\n    Format plain"


class Shipper:
    """A process and what it has written on stderr so far."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = folder / "stderr"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FLB_")}
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shipper", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=folder,
                env=environment,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that another process does; there is nothing but looking again."""
        end = time.monotonic() + LONGEST_WAIT_S
        while not condition():
            assert time.monotonic() < end, f"it took too long; the log is:\n{self.log}"
            assert self.process.poll() is None or condition(), f"the process has ended; the log is:\n{self.log}"
            time.sleep(0.02)

    def unread(self) -> int:
        """Bytes that it has printed and nobody has read."""
        assert self.process.stdout is not None
        return int.from_bytes(fcntl.ioctl(self.process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)

    def end(self) -> tuple[int, str]:
        """Wait for its end; gives the exit code and what it printed."""
        out, _ = self.process.communicate(timeout=LONGEST_WAIT_S)
        return self.process.returncode, out.decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Shipper]]:
    """Starts a process, which is killed if the test forgets it."""
    started: list[Shipper] = []

    def start_with(configuration: str, *arguments: str) -> Shipper:
        (tmp_path / "shipper.conf").write_text(configuration)
        started.append(Shipper(tmp_path, "-c", "shipper.conf", *arguments))
        return started[-1]

    yield start_with
    for shipper in started:
        if shipper.process.poll() is None:
            shipper.process.kill()
        shipper.process.communicate()


def pipeline(folder: Path, output: str = "file", more: str = TO_FILE, tail: str = "", grace: int = 5) -> str:
    return PIPELINE.format(folder=folder, output=output, more=more.format(folder=folder), tail=tail, grace=grace)


def write_lines(folder: Path, count: int) -> None:
    (folder / "app.log").write_text("".join(f"line {n}\n" for n in range(count)))


def delivered(folder: Path) -> int:
    path = folder / "out"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_sigterm_ends_it_well_and_the_accounts_balance(tmp_path: Path, start: Callable[..., Shipper]) -> None:
    write_lines(tmp_path, 1000)
    shipper = start(pipeline(tmp_path))
    shipper.until(lambda: delivered(tmp_path) == 1000)
    shipper.process.send_signal(signal.SIGTERM)
    code, _ = shipper.end()

    ledger = read_ledger(shipper.log)
    assert code == 0
    assert_balanced(ledger)
    assert (ledger["tail.0"]["read"], ledger["file.0"]["delivered"]) == (1000, 1000)
    assert "service has stopped (0 pending records, 1000 delivered)" in shipper.log


def test_a_hangup_before_it_has_begun_does_not_end_it(tmp_path: Path, start: Callable[..., Shipper]) -> None:
    write_lines(tmp_path, 10)
    text = pipeline(tmp_path).replace("[SERVICE]", "[SERVICE]\n    Hot_Reload on")
    os.mkfifo(tmp_path / "pipe.conf")
    shipper = start("", "-c", "pipe.conf")
    # This can be opened as soon as somebody reads it, which is the first thing that is done.
    with (tmp_path / "pipe.conf").open("w") as pipe:
        shipper.process.send_signal(signal.SIGHUP)
        pipe.write(text)
    shipper.until(lambda: "reloading instance" in shipper.log)
    (tmp_path / "pipe.conf").write_text(text)
    shipper.until(lambda: "successful reload done" in shipper.log)
    shipper.until(lambda: delivered(tmp_path) == 10)
    shipper.process.send_signal(signal.SIGTERM)
    code, _ = shipper.end()

    assert code == 0
    assert shipper.log.count("successful reload done") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_to_stop_before_it_has_begun_ends_it_well(
    tmp_path: Path, start: Callable[..., Shipper], number: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "pipe.conf")
    shipper = start("", "-c", "pipe.conf")
    with (tmp_path / "pipe.conf").open("w"):
        shipper.process.send_signal(number)
        code, _ = shipper.end()

    assert code == 0


def test_a_check_that_is_interrupted_is_no_good_one(tmp_path: Path, start: Callable[..., Shipper]) -> None:
    os.mkfifo(tmp_path / "pipe.conf")
    shipper = start("", "-c", "pipe.conf", "--dry-run")
    with (tmp_path / "pipe.conf").open("w"):
        shipper.process.send_signal(signal.SIGTERM)
        code, _ = shipper.end()

    assert code == -signal.SIGTERM


def test_every_line_on_stderr_after_the_banner_has_the_form_that_operators_know(
    tmp_path: Path, start: Callable[..., Shipper]
) -> None:
    write_lines(tmp_path, 3)
    shipper = start(pipeline(tmp_path, tail="exit_on_eof on"))
    shipper.end()

    lines = shipper.log.splitlines()
    first = next(n for n, line in enumerate(lines) if LOG_LINE.fullmatch(line))
    assert [line for line in lines[first:] if not LOG_LINE.fullmatch(line)] == []
    assert len(lines) - first > 5


def test_it_ends_by_itself_at_the_end_of_the_files_with_everything_delivered(
    tmp_path: Path, start: Callable[..., Shipper]
) -> None:
    write_lines(tmp_path, 1000)
    shipper = start(pipeline(tmp_path, output="stdout", more="Format json_lines", tail="exit_on_eof on"))
    code, out = shipper.end()

    assert code == 0
    assert [line for line in out.splitlines() if "line" in line and '"log"' in line][-1].endswith('"log":"line 999"}')
    assert out.count('"log"') == 1000


def test_what_was_delivered_before_the_end_is_not_delivered_again(
    tmp_path: Path, start: Callable[..., Shipper]
) -> None:
    for lines in (100, 150):
        write_lines(tmp_path, lines)
        start(pipeline(tmp_path, tail="exit_on_eof on")).end()

    assert delivered(tmp_path) == 150


def test_sigcont_prints_how_it_is_and_everything_goes_on(tmp_path: Path, start: Callable[..., Shipper]) -> None:
    write_lines(tmp_path, 10)
    shipper = start(pipeline(tmp_path))
    shipper.until(lambda: delivered(tmp_path) == 10)
    shipper.process.send_signal(signal.SIGCONT)
    shipper.until(lambda: "└─ fs chunks     : 0" in shipper.log)
    write_lines(tmp_path, 20)
    shipper.until(lambda: delivered(tmp_path) == 20)
    shipper.process.send_signal(signal.SIGTERM)
    code, _ = shipper.end()

    assert code == 0
    assert "[engine] caught signal (SIGCONT)" in shipper.log
    assert "] Fluent Bit Dump\n\n===== Input =====\ntail.0 (tail)\n│\n├─ status\n" in shipper.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_though_nobody_reads_its_log_any_more(tmp_path: Path, number: signal.Signals) -> None:
    write_lines(tmp_path, 10)
    (tmp_path / "shipper.conf").write_text(pipeline(tmp_path))
    command = [sys.executable, "-m", "shipper", "-c", "shipper.conf"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stderr is not None
        while b"initializing" not in process.stderr.readline():
            assert process.poll() is None
        process.stderr.close()
        end = time.monotonic() + LONGEST_WAIT_S
        while delivered(tmp_path) < 10 and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(number)
        code = process.wait(LONGEST_WAIT_S)

    assert (code, delivered(tmp_path)) == (0, 10)


def test_a_second_sigint_ends_it_at_once_and_what_was_not_delivered_is_read_again(
    tmp_path: Path, start: Callable[..., Shipper]
) -> None:
    write_lines(tmp_path, 10)
    missing = "Path {folder}/missing\n    File out"
    shipper = start(pipeline(tmp_path, more=missing, grace=600))
    shipper.until(lambda: "failed to flush chunk" in shipper.log)
    shipper.process.send_signal(signal.SIGINT)
    shipper.until(lambda: "pausing all inputs" in shipper.log)
    shipper.process.send_signal(signal.SIGINT)
    started = time.monotonic()
    code, _ = shipper.end()
    took_s, told = time.monotonic() - started, shipper.log
    start(pipeline(tmp_path, tail="exit_on_eof on")).end()

    assert code == 0
    assert told.count("[engine] caught signal (SIGINT)") == 2
    assert took_s < 5
    assert delivered(tmp_path) == 10


def test_an_output_that_takes_nothing_does_not_keep_it_longer_than_grace(
    tmp_path: Path, start: Callable[..., Shipper]
) -> None:
    write_lines(tmp_path, 200_000)
    # Nobody reads what it prints, so the pipe is full soon.
    shipper = start(pipeline(tmp_path, output="stdout", more="Format json_lines", grace=1))
    shipper.until(lambda: shipper.unread() > 60_000)
    shipper.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    shipper.process.wait(LONGEST_WAIT_S)

    assert time.monotonic() - started < 1 + 1
    assert shipper.process.returncode == 0
    assert_balanced(read_ledger(shipper.log))


def test_it_is_silent_when_it_is_told_to_be(tmp_path: Path, start: Callable[..., Shipper]) -> None:
    write_lines(tmp_path, 3)
    shipper = start(pipeline(tmp_path, tail="exit_on_eof on"), "-q")
    code, out = shipper.end()

    assert (code, out, shipper.log) == (0, "", "")
    assert delivered(tmp_path) == 3


def test_a_bad_configuration_starts_nothing_and_every_mistake_is_told(
    tmp_path: Path, start: Callable[..., Shipper]
) -> None:
    write_lines(tmp_path, 3)
    shipper = start(pipeline(tmp_path, tail="Bufer_Max_Size 5M", more="Formt plain"))
    code, _ = shipper.end()

    assert code == 255
    assert "shipper.conf:11: tail: unknown option 'bufer_max_size' - did you mean 'buffer_max_size'?" in shipper.log
    assert "shipper.conf:16: file: unknown option 'formt' - did you mean 'format'?" in shipper.log
    assert shipper.log.splitlines()[-1].endswith("[error] configuration file contains errors, aborting.")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["app.log", "shipper.conf", "stderr"]


def test_an_instance_that_cannot_be_opened_ends_it_with_255(tmp_path: Path, start: Callable[..., Shipper]) -> None:
    write_lines(tmp_path, 3)
    shipper = start(pipeline(tmp_path / "missing"))
    code, _ = shipper.end()

    assert code == 255
    assert re.search(r"shipper\.conf:9: tail: option 'db' could not open/create database", shipper.log)
    assert delivered(tmp_path) == 0
