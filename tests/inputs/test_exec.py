"""exec: lines of commands, when they run, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from shipper.clock import Clock, SystemClock
from shipper.config.model import Section
from shipper.context import Context
from shipper.errors import ConfigError, OptionError
from shipper.inputs.exec import ExecInput, ExecOptions
from shipper.parsers.base import ParserLibrary
from shipper.parsers.library import build_parsers
from shipper.record import Body
from shipper.testing import ManualClock, context_of

from ..written_options import options_from, section_of
from .collected import Collected

JSON: Section = section_of("Name js\nFormat json", "parser")


def context_with(clock: Clock | None = None, stops: list[int] | None = None) -> Context:
    library = ParserLibrary(build_parsers([JSON], [], lambda _: None))
    stopped = (stops if stops is not None else []).append
    return context_of("input", "exec.0", clock or SystemClock(), parsers=library, stop_service=stopped)


def command(text: str, lines: str = "", context: Context | None = None) -> Collected:
    options = options_from(ExecOptions, f"command {text}\n{lines}", "input")
    return Collected(ExecInput(options, context or context_with()))


async def printed(text: str, lines: str = "", context: Context | None = None) -> list[Body]:
    """The bodies of a command that runs once."""
    async with command(text, f"oneshot on\n{lines}", context) as one:
        return await one.until_ended()


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        (
            r"printf 'one\n  two \n\nlast without end'; echo unseen >/dev/null",
            "",
            ["one", "  two ", "", "last without end"],
        ),
        ("echo seen; echo unseen >&2", "", ["seen"]),
        ("true", "", []),
        ("echo 123456789", "buf_size 5", ["1234", "5678", "9"]),
        ("echo 12345678", "buf_size 5", ["1234", "5678"]),
        ("echo 1234; echo 5", "buf_size 5", ["1234", "5"]),
        ("printf äöü", "buf_size 4", ["ä", "ö", "ü"]),
        ("echo ${HOME:+x} $((1+1))", "", ["x 2"]),
        ("cat", "", []),
        (r"printf '\377\n'", "", ["\udcff"]),
    ],
)
async def test_every_line_is_a_record(text: str, lines: str, expected: list[str]) -> None:
    assert await printed(text, lines) == [{"exec": line} for line in expected]


async def test_with_a_parser_lines_that_do_not_fit_are_dropped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    context = context_with()
    with caplog.at_level(logging.ERROR, "shipper"):
        bodies = await printed(r"""printf '{"a":1}\nnope\n{"b":{"c":2}}\n'""", "parser js", context)

    assert bodies == [{"a": 1}, {"b": {"c": 2}}]
    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"unparsed": 1}
    assert "parser returned an error" in caplog.text


async def test_lines_arrive_while_the_command_runs() -> None:
    async with command("echo a; exec sleep 60", "oneshot on") as one:
        assert await one.has(1) == [{"exec": "a"}]


async def test_much_output_makes_few_batches() -> None:
    async with command("seq 1 20000", "oneshot on") as one:
        bodies = await one.until_ended()

    assert [body["exec"] for body in bodies] == [str(n) for n in range(1, 20_001)]
    assert len(one.batches) < 200
    assert sum(batch.size for batch in one.batches) == sum(len(str(n)) + 1 for n in range(1, 20_001))


async def test_a_command_runs_once_an_interval_and_never_twice_at_a_time() -> None:
    clock = ManualClock()
    options = options_from(ExecOptions, "command echo $$\ninterval_sec 2", "input")
    async with Collected(ExecInput(options, context_with(clock)), clock) as one:
        assert await one.after(1.9) == []
        await one.after(0.2)
        await one.has(1)
        await asyncio.sleep(0.05)
        await one.after(2)
        bodies = await one.has(2)

    assert bodies[0] != bodies[1]


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("exit 3", "exit_after_oneshot on", [0]),
        ("exit 3", "exit_after_oneshot on\npropagate_exit_code on", [3]),
        ("exit 0", "exit_after_oneshot on\npropagate_exit_code on", [0]),
        ("kill -TERM $$", "exit_after_oneshot on\npropagate_exit_code on", [143]),
        ("exit 3", "propagate_exit_code on", []),
        ("exit 3", "", []),
    ],
)
async def test_the_end_of_the_command_may_end_the_service(text: str, lines: str, expected: list[int]) -> None:
    stops: list[int] = []
    await printed(text, lines, context_with(stops=stops))

    assert stops == expected


async def test_asked_to_stop_it_reads_the_last_words_of_the_command() -> None:
    stops: list[int] = []
    text = "trap 'echo bye; exit' TERM; echo a; while :; do sleep 0.01; done"
    async with command(text, "oneshot on\nexit_after_oneshot on", context_with(stops=stops)) as one:
        await one.has(1)

        assert await one.input.stop()
        assert await one.until_ended() == [{"exec": "a"}, {"exec": "bye"}]
    assert stops == []


@pytest.mark.parametrize(
    ("text", "lines", "printed"),
    [
        pytest.param("seq 1 20000", "", 20_000, id="more than one read"),
        pytest.param(r"printf 'a\nb\nno end'", "", 3, id="no last line feed"),
        pytest.param("echo 123456789", "buf_size 5", 3, id="pieces of a line"),
    ],
)
async def test_what_was_printed_and_finds_no_room_before_the_end_is_counted(
    tmp_path: Path, text: str, lines: str, printed: int
) -> None:
    context, is_printed = context_with(), tmp_path / "printed"
    async with command(f"{text}; touch {is_printed}; exec sleep 60", f"oneshot on\n{lines}".rstrip(), context) as one:
        one.gate.clear()
        async with asyncio.timeout(10):
            await one.is_held_up.wait()
            while not is_printed.exists():  # noqa: ASYNC110 - nobody tells of a file
                await asyncio.sleep(0.002)
        assert await one.input.stop()

    assert one.bodies() == []
    assert context.metrics.by_label("input_dropped_records_total", "reason") == {"cut_off": printed}


async def test_between_runs_there_is_nothing_to_wait_for() -> None:
    async with command("true", "interval_sec 60") as one:
        assert not await one.input.stop()


async def test_a_command_that_ignores_sigterm_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    text = f"trap '' TERM; sleep 60 & echo $$ $! >{file}; echo a; wait; sleep 60"
    async with command(text, "oneshot on") as one:
        await one.has(1)
    pids = [int(pid) for pid in file.read_text().split()]

    for _ in range(500):
        if all(map(_is_gone, pids)):
            break
        await asyncio.sleep(0.01)  # the system ends them in its own time

    assert [_is_gone(pid) for pid in pids] == [True, True]


async def test_without_a_shell_the_failure_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fails)
    stops: list[int] = []
    with caplog.at_level(logging.ERROR, "shipper"):
        await printed("true", "exit_after_oneshot on\npropagate_exit_code on", context_with(stops=stops))

    assert stops == [128]
    assert "no more processes" in caplog.text


def test_mistakes_are_told() -> None:
    with pytest.raises(ConfigError, match="command"):
        options_from(ExecOptions, "oneshot on", "input")
    with pytest.raises(OptionError, match="nobody"):
        command("true", "parser nobody")


def _is_gone(pid: int) -> bool:
    """Whether a process has ended; one that waits for its parent to notice has."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
