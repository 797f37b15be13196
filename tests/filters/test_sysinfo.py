"""sysinfo: facts about the machine, in their order."""

from __future__ import annotations

import os
import socket

from shipper import __version__
from shipper.filters.sysinfo import SysinfoFilter, SysinfoOptions
from shipper.record import Body, Record, RecordBatch
from shipper.testing import context_of

from ..written_options import options_from


def enriched(lines: str, body: Body) -> list[tuple[str, object]]:
    one = SysinfoFilter(options_from(SysinfoOptions, lines), context_of("filter"))
    batch = RecordBatch("t", [Record(0, body, {"m": 1})], 10)
    one.apply(batch)
    assert batch.records[0].metadata == {"m": 1}
    return list(batch.records[0].body.items())


def test_chosen_facts_are_appended_in_a_fixed_order() -> None:
    lines = "kernel_version_key k\nos_version_key v\nhostname_key h\nos_name_key o\nfluentbit_version_key f"
    system = os.uname()

    assert enriched(lines, {"h": 0, "a": 1}) == [
        ("a", 1),
        ("f", __version__),
        ("o", "linux"),
        ("h", socket.gethostname()),
        ("v", system.version),
        ("k", system.release),
    ]


def test_without_options_nothing_is_added() -> None:
    assert enriched("", {"a": 1}) == [("a", 1)]
