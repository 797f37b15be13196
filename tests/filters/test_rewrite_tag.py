"""rewrite_tag: rules as a table, and what becomes of the records on their way through an intake."""

from __future__ import annotations

import pytest

from shipper.buffers.base import BatchLimits
from shipper.buffers.memory import MemoryBuffer
from shipper.errors import ConfigError, OptionError
from shipper.filters.rewrite_tag import RewriteTagFilter, RewriteTagOptions
from shipper.intake import ActiveFilter, Intake
from shipper.log import Log
from shipper.record import Body, Receipt, Record, RecordBatch
from shipper.router import Route, Router, match_tag
from shipper.testing import BlockContent, ManualClock, context_of

from ..written_options import options_from

XYZ, Q = {"a": "xyz-1"}, {"a": "q"}
NESTED = {"k": {"l": {"app.io/x": "web"}}}


def filter_of(rules: str) -> RewriteTagFilter:
    return RewriteTagFilter(options_from(RewriteTagOptions, rules), context_of("filter"))


def rewritten(rules: str, *bodies: Body, receipt: Receipt | None = None) -> tuple[list[Body], dict[str, list[Body]]]:
    """What stays, and what is handed out by tag."""
    one = filter_of(rules)
    records = RecordBatch("t", [Record(1, dict(body)) for body in bodies], 100, receipt)
    left = one.take(records, "in")
    out = one.handed_out("in")
    return [r.body for r in left] if left else [], {batch.tag: [r.body for r in batch] for batch in out}


@pytest.mark.parametrize(
    ("rules", "bodies", "left", "out"),
    [
        ("Rule $a ^(x)(y)z new.$TAG[0].$1.$2.$a true", [XYZ], [XYZ], {"new.t.x.y.xyz-1": [XYZ]}),
        ("Rule $a ^xyz new.$TAG false", [XYZ, Q], [Q], {"new.t": [XYZ]}),
        ("Rule $a ^(x) new.$9.$nope.$TAG[5].$TAG[0].end false", [XYZ], [], {"new....t.end": [XYZ]}),
        ("Rule $k['l']['app.io/x'] ^web$ app.$k['l']['app.io/x'] false", [NESTED], [], {"app.web": [NESTED]}),
        ("Rule $a 5 new false", [{"a": 5}], [{"a": 5}], {}),
        ("Rule $a x one false\nRule $a . two false", [XYZ, Q], [], {"one": [XYZ], "two": [Q]}),
        ('Rule $a "^x y" new false', [{"a": "x y"}, XYZ], [XYZ], {"new": [{"a": "x y"}]}),
        ("Rule $missing . new false", [XYZ], [XYZ], {}),
        ("Rule $a . new.$a false", [{"a": "x\ny\x1b"}], [], {"new.x_y_": [{"a": "x\ny\x1b"}]}),
    ],
)
def test_the_first_rule_that_matches_decides(
    rules: str, bodies: list[Body], left: list[Body], out: dict[str, list[Body]]
) -> None:
    assert rewritten(rules, *bodies) == (left, out)


@pytest.mark.parametrize(
    "rules", ["", "Rule $a x new", "Rule $a x new false more", "Rule $a [ new false", "Rule $a x new maybe"]
)
def test_mistakes_are_told(rules: str) -> None:
    with pytest.raises((ConfigError, OptionError)):
        filter_of(rules)


def test_records_that_no_rule_is_for_are_not_touched() -> None:
    content = BlockContent([XYZ])
    left = filter_of("Rule $a ^q new false").take(RecordBatch("t", content, 10), "in")

    assert left is not None and left.content is content


def test_the_input_is_owed_until_every_copy_is_settled() -> None:
    told: list[str] = []
    receipt = Receipt(lambda: told.append("settled"))
    one = filter_of("Rule $a ^x one true\nRule $a ^q two false")
    left = one.take(RecordBatch("t", [Record(1, dict(XYZ)), Record(2, dict(Q))], 100, receipt), "in")
    out = one.handed_out("in")
    assert left is not None
    for batch in (left, *out):
        assert told == []
        batch.receipt.settle()

    assert told == ["settled"]
    assert (left.size, [batch.size for batch in out]) == (50, [50, 50])
    assert (one.held("in"), one.handed_out("in"), one.release("in", None)) == (0, [], None)


def test_a_kept_record_and_its_copy_change_apart() -> None:
    one = filter_of("Rule $a ^x one true")
    left = one.take(RecordBatch("t", [Record(1, dict(XYZ), {"m": 1})], 100), "in")
    (copy,) = one.handed_out("in")
    assert left is not None
    left.records[0].body["b"] = 1
    assert left.records[0].metadata is not None
    left.records[0].metadata["n"] = 1

    assert copy.records == [Record(1, XYZ, {"m": 1})]


@pytest.mark.parametrize(
    ("matches", "rules", "tags", "told"),
    [
        (["*"], ["Rule $a ^x new.$TAG false"], ["new.t"], 1),
        (["*"], ["Rule $a ^x new.$TAG true"], ["t", "new.t"], 1),
        (["t", "u"], ["Rule $a ^x u false", "Rule $a ^x t false"], ["t"], 1),
        (["t"], ["Rule $a ^x new false"], ["new"], 0),
        (["t", "u"], ["Rule $a ^x u false", "Rule $a ^x v false"], ["v"], 0),
    ],
)
async def test_records_that_come_round_keep_their_tag_and_that_is_told_once(
    matches: list[str], rules: list[str], tags: list[str], told: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock, context = ManualClock(), context_of("input", "in.0")
    buffer = MemoryBuffer("in.0", 1_000_000, clock, Log(""))
    reader = buffer.reader("out.0", lambda batch: "", BatchLimits(), lambda: None)
    filters = [
        ActiveFilter(filter_of(rule), match_tag(match), context_of("filter", f"rewrite_tag.{n}"))
        for n, (match, rule) in enumerate(zip(matches, rules, strict=True))
    ]
    intake = Intake(context, filters, Router([Route("out.0", "*")], 1), buffer, True)

    for _ in range(3):
        await intake.emit(RecordBatch("t", [Record(1, dict(XYZ)), Record(2, dict(XYZ))], 100))
        await intake.hand_out()
    found: list[str] = []
    while (delivery := reader.take(clock.monotonic(), flush=True)) is not None:
        found += [batch.tag for batch in delivery.batches]
        reader.commit(delivery)

    assert found == tags * 3
    assert [r.levelname for r in caplog.records if "emitter cycle detected" in r.message] == ["ERROR"] * told
