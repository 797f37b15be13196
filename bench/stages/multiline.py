"""Stack traces of Java through the multiline engine, in nanoseconds per line, and lines among which there are none."""

from __future__ import annotations

import random

from shipper.parsers.joiner import Joiner
from shipper.parsers.multiline import built_in_definitions
from shipper.parsers.pending import Joined

from .assembling import assembled, assembler_of, count
from .material import NOW_NS, blocks_of, texts
from .measuring import Stage

_LINES = 3_000
_PLACES = ("Orders.place(Orders.java:41)", "Cart.checkout(Cart.java:112)", "Api.handle(Api.java:7)")


def messages_with_traces() -> list[list[str]]:
    """The lines of messages; every tenth message is an exception of 7 to 17 lines, all others have one."""
    rng = random.Random(0)
    messages: list[list[str]] = []
    lines = 0
    for text in texts("plain"):
        message = [text]
        if rng.random() < 0.1:
            frames = [f"\tat com.example.{rng.choice(_PLACES)}" for _ in range(rng.randint(5, 15))]
            message = ['Exception in thread "main" java.lang.IllegalStateException: no stock', *frames]
            message.append("Caused by: java.sql.SQLException: gone")
        messages.append(message)
        lines += len(message)
        if lines >= _LINES:
            break
    return messages


def _joined(joiner: Joiner, lines: list[str]) -> list[Joined]:
    append = joiner.append
    for number, line in enumerate(lines):
        append(line, number, number + 1)
    joiner.flush_all()
    return joiner.take()


def test_joiner(stage: Stage) -> None:
    messages = messages_with_traces()
    lines = [line for message in messages for line in message]
    joiner = Joiner([built_in_definitions()["java"]], 0, lambda: NOW_NS)

    found = stage.measure(lambda: _joined(joiner, lines), records=len(lines))

    assert [j.body["log"].split("\n")[: len(m)] for j, m in zip(found, messages, strict=True)] == messages


def test_lines_of_a_file(stage: Stage) -> None:
    messages = [*messages_with_traces(), ["the end"]]
    block = "".join(f"{line}\n" for message in messages for line in message).encode()
    assembler = assembler_of("multiline.parser java")

    contents = stage.measure(lambda: assembled(assembler, [block]), records=block.count(b"\n"))

    assert count(contents) == len(messages)


def test_lines_without_traces(stage: Stage) -> None:
    lines = [f"{text}\n".encode() for text in texts("plain")]
    blocks, assembler = blocks_of(lines), assembler_of("multiline.parser java")
    expected = sum(block.count(b"\n") for block in blocks)

    contents = stage.measure(lambda: assembled(assembler, blocks), records=expected)

    assert count(contents) == expected
