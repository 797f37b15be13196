"""The ledger lines of a log become numbers."""

from __future__ import annotations

from tests.faults.ledger import read_ledger

_LOG = """\
[2026/11/20 10:00:00.000] [ info] [engine] ledger input tail.0: read=10 added=0 stored=10 balanced
[2026/11/20 10:00:00.000] [ info] [input:tail:tail.0] something else
[2026/11/20 10:00:09.000] [ info] [engine] ledger input tail.0: read=100 added=0 stored=99 balanced
[2026/11/20 10:00:09.000] [ info] [engine] ledger output out: delivered=96 held=1 dropped.too_old=1 NOT BALANCED
"""


def test_the_last_entry_of_each_instance_counts() -> None:
    ledger = read_ledger(_LOG)

    assert ledger["tail.0"].kind == "input"
    assert ledger["tail.0"].numbers == {"read": 100, "added": 0, "stored": 99}
    assert ledger["out"]["dropped.too_old"] == 1


def test_the_shippers_own_verdict_is_read() -> None:
    ledger = read_ledger(_LOG)

    assert ledger["tail.0"].is_balanced
    assert not ledger["out"].is_balanced


def test_a_log_without_ledger_lines_has_no_entries() -> None:
    assert read_ledger("[2026/11/20 10:00:00.000] [ info] [engine] started") == {}
