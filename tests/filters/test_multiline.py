"""multiline: records joined within a batch, over batches, and from the parts of Docker's fluentd driver."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.service import ServiceOptions
from shipper.context import Context
from shipper.errors import ConfigError, OptionError
from shipper.filters.multiline import MultilineFilter, MultilineOptions
from shipper.parsers.base import ParserLibrary
from shipper.parsers.multiline import MultilineDefinition, built_in_definitions
from shipper.record import Body, Receipt, Record, RecordBatch
from shipper.testing import ManualClock, context_of

from ..parsers.joining import DATED, PairsParser, endswith, equal, rules
from ..written_options import options_from

TIME_NS = 1_600_000_000_000_000_000
JAVA = "multiline.parser java\nmultiline.key_content log"
TRACE = ["x FooException: b", "\tat c", "\tat d"]
PARTIAL = "mode partial_message\nmultiline.key_content log"


def filter_of(lines: str, context: Context | None = None, **definitions: MultilineDefinition) -> MultilineFilter:
    if context is None:
        context = context_of("filter", "multiline.0")
    context.parsers = ParserLibrary({}, {**built_in_definitions(), "dated": DATED, **definitions})
    return MultilineFilter(options_from(MultilineOptions, lines), context)


def batch_from(bodies: list[Body], tag: str = "t", receipt: Receipt | None = None) -> RecordBatch:
    records = [Record(TIME_NS + n, dict(body)) for n, body in enumerate(bodies)]
    return RecordBatch(tag, records, 10 * len(records), receipt)


def logs(*texts: str, tag: str = "t", receipt: Receipt | None = None) -> RecordBatch:
    return batch_from([{"log": text, "n": n} for n, text in enumerate(texts)], tag, receipt)


def joined(lines: str, bodies: list[Body], **definitions: MultilineDefinition) -> list[Body]:
    """What comes of one batch with `buffer off`."""
    batch = filter_of(f"{lines}\nbuffer off", None, **definitions).apply(batch_from(bodies))
    return [r.body for r in batch] if batch else []


def bodies_of(batches: list[RecordBatch]) -> list[Body]:
    return [record.body for batch in batches for record in batch]


def part(text: str, id: Any = "1", last: bool = False, **more: Any) -> Body:
    return {"log": text, "partial_message": "true", "partial_id": id, "partial_last": str(last).lower(), **more}


class TestWithinABatch:
    @pytest.mark.parametrize(
        ("lines", "texts", "expected"),
        [
            (
                "multiline.parser python\nmultiline.key_content log",
                ["hello", "Traceback (most recent call last):", '  File "a.py"', "    x()", "ValueError: bad", "world"],
                [
                    ("hello", 0),
                    ('Traceback (most recent call last):\n  File "a.py"\n    x()\nValueError: bad', 1),
                    ("world", 5),
                ],
            ),
            (
                JAVA,
                ["a", *TRACE, "end", "y BarError: q\n", "\tat r\n", "tail"],
                [("a", 0), ("\n".join(TRACE), 1), ("end", 4), ("y BarError: q\n\tat r\n", 5), ("tail", 7)],
            ),
            (
                "multiline.parser go, java, ruby\nmultiline.key_content log",
                ["panic: p", "", "goroutine 1 [running]:", *TRACE, "a.rb:1:in `x': boom", "\tfrom b.rb:2:in `y'"],
                [
                    ("panic: p\n\ngoroutine 1 [running]:", 0),
                    ("\n".join(TRACE), 3),
                    ("a.rb:1:in `x': boom\n\tfrom b.rb:2:in `y'", 6),
                ],
            ),
        ],
    )
    def test_the_joined_record_has_the_fields_of_the_first(
        self, lines: str, texts: list[str], expected: list[tuple[str, int]]
    ) -> None:
        bodies = joined(lines, [{"log": text, "n": n} for n, text in enumerate(texts)])

        assert [(b["log"], b["n"]) for b in bodies] == expected

    def test_the_field_with_the_text_may_have_any_name_and_keeps_its_place(self) -> None:
        records = [{"a": 0, "msg": "a"}, {"k": "first", "msg": "x FooException: b", "z": 1}, {"msg": "\tat c", "o": 2}]
        bodies = joined("multiline.parser java\nmultiline.key_content msg", records)

        assert [list(b.items()) for b in bodies] == [
            [("a", 0), ("msg", "a")],
            [("k", "first"), ("msg", "x FooException: b\n\tat c"), ("z", 1)],
        ]

    @pytest.mark.parametrize(
        ("start", "first"),
        [
            (r"(?:a.b|cde) failed", "axb failed"),
            (r"\x1b\[31mERROR", "\x1b[31mERROR x"),
            (r"\u0023 fatal", "# fatal"),
            (r"\101larm", "Alarm"),
            (r"(?<w>\w)\k<w>\k<w>!", "zzz!"),
            (r"trace+*:", "trac:"),
            (r"(?:panic|fatal)(?#or none)*: ", "x: y"),
        ],
    )
    @pytest.mark.parametrize("buffer", ["on", "off"])
    def test_every_start_rule_begins_messages(self, start: str, first: str, buffer: str) -> None:
        my = rules(f'"start_state" "/{start}/" "cont"', r'"cont" "/^\s+/" "cont"')
        one = filter_of(f"multiline.parser my\nmultiline.key_content log\nbuffer {buffer}", None, my=my)
        batches = [left] if (left := one.apply(logs(first, "  at c", "  at d"))) is not None else []
        one.release("", None)

        assert [body["log"] for body in bodies_of([*batches, *one.handed_out("")])] == [f"{first}\n  at c\n  at d"]

    def test_time_is_that_of_the_first_record_and_metadata_that_of_all(self) -> None:
        metadata: list[Body] = [{"a": 1}, {"a": 1}, {"b": 2}]
        records = [
            Record(TIME_NS + n, {"log": text}, m) for n, (text, m) in enumerate(zip(TRACE, metadata, strict=True))
        ]
        batch = filter_of(f"{JAVA}\nbuffer off").apply(
            RecordBatch("t", [*records, Record(7, {"log": "q"}, {"c": 3})], 9)
        )

        assert batch is not None
        assert [(r.time_ns, r.metadata) for r in batch] == [(TIME_NS, {"a": 1, "b": 2}), (7, {"c": 3})]
        assert metadata == [{"a": 1}, {"a": 1}, {"b": 2}]

    def test_a_record_without_the_text_ends_the_message_and_stays_as_it_is(self) -> None:
        bodies = joined(JAVA, [{"msg": "no log"}, {"log": TRACE[0]}, {"log": TRACE[1]}, {"log": 7}, {"log": "end"}])

        assert bodies == [{"msg": "no log"}, {"log": f"{TRACE[0]}\n{TRACE[1]}"}, {"log": 7}, {"log": "end"}]

    def test_the_fields_of_a_sub_parser_replace_those_of_the_record(self) -> None:
        semicolon = endswith(";", key_content="log", key_group="g", parser=PairsParser())
        texts = ["log=a,g=x", "log=b;,g=y", "log=c;,g=x", "none"]
        bodies = joined("multiline.parser my", [{"log": text, "n": 1} for text in texts], my=semicolon)

        assert bodies == [{"log": "b;", "g": "y"}, {"log": "ac;", "g": "x"}, {"log": "none", "n": 1}]

    def test_a_sub_parser_without_a_time_leaves_that_of_the_record(self) -> None:
        with_time, without = (equal("E", key_content="log", parser=PairsParser(t)) for t in (5_000_000_000, None))
        times = [
            [r.time_ns for r in filter_of("multiline.parser my\nbuffer off", my=my).apply(logs("log=a", "log=E")) or ()]
            for my in (with_time, without)
        ]

        assert times == [[5_000_000_000], [TIME_NS]]

    def test_text_beyond_the_limit_is_cut_and_the_record_says_so(self) -> None:
        context = context_of("filter", "m", service=ServiceOptions(multiline_buffer_limit=10))  # type: ignore[arg-type]
        batch = filter_of(f"{JAVA}\nbuffer off", context).apply(logs("x Error: abc", "end"))

        assert batch is not None
        assert [(r.body["log"], r.metadata) for r in batch] == [
            ("x Error: a", {"multiline_truncated": True}),
            ("end", None),
        ]
        assert context.metrics.total("filter_emit_truncated_total") == 1

    def test_without_a_field_for_the_text_records_pass_and_that_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "shipper"):
            bodies = joined("multiline.parser java", [{"log": text} for text in TRACE])

        assert [b["log"] for b in bodies] == TRACE
        assert "multiline.key_content names no field" in caplog.text


class TestOverBatches:
    def test_a_message_may_spread_over_batches(self) -> None:
        joining = filter_of(JAVA)
        results = [joining.take(logs(text), "tail.0") for text in (*TRACE, "end")]

        assert results == [None] * 4
        assert [b["log"] for b in bodies_of(joining.handed_out("tail.0"))] == ["\n".join(TRACE), "end"]
        assert joining.handed_out("tail.0") == []

    def test_a_batch_in_which_nothing_begins_goes_on_at_once(self) -> None:
        joining = filter_of(JAVA)
        batch = logs("a", "b")
        left = joining.take(batch, "tail.0")

        assert left is batch
        assert not batch.receipt.is_settled
        assert joining.handed_out("tail.0") == []

    def test_each_tag_of_each_input_is_joined_apart(self) -> None:
        joining = filter_of(JAVA)
        for text in TRACE:
            joining.take(logs(text, tag="a"), "tail.0")
            joining.take(logs(text, tag="b"), "tail.0")
            joining.take(logs(text, tag="a"), "tail.1")
        joining.release("tail.0", None)
        given_out = joining.handed_out("tail.0")

        assert [(b.tag, [r.body["log"] for r in b]) for b in given_out] == [(t, ["\n".join(TRACE)]) for t in "ab"]
        assert (joining.held("tail.0"), joining.held("tail.1")) == (0, 3)

    def test_silence_ends_a_message(self) -> None:
        clock = ManualClock()
        joining = filter_of(f"{JAVA}\nflush_ms 600", context_of("filter", clock=clock))
        joining.take(logs(*TRACE), "i")

        assert joining.release("i", 0.5) == 0.6
        assert joining.handed_out("i") == []
        assert joining.release("i", 0.6) is None
        assert [b["log"] for b in bodies_of(joining.handed_out("i"))] == ["\n".join(TRACE)]

    async def test_each_record_puts_the_end_of_its_message_off(self) -> None:
        clock = ManualClock()
        joining = filter_of(JAVA, context_of("filter", clock=clock))
        joining.take(logs(*TRACE), "i")
        await clock.advance(1.5)
        joining.take(logs("\tat e"), "i")

        assert joining.release("i", 2.1) == 3.5

    def test_records_are_owed_until_the_message_they_are_part_of_is_settled(self) -> None:
        joining = filter_of(JAVA)
        first, second = Receipt(), Receipt()
        joining.take(logs("a", TRACE[0], receipt=first), "i")
        first.settle()
        [single] = joining.handed_out("i")
        joining.take(logs(TRACE[1], "end", receipt=second), "i")
        second.settle()
        [message] = joining.handed_out("i")
        single.receipt.settle()

        assert (first.is_settled, second.is_settled) == (False, False)
        message.receipt.settle()
        assert (first.is_settled, second.is_settled) == (True, True)

    def test_a_batch_that_leaves_nothing_pending_is_owed_by_what_it_became_alone(self) -> None:
        joining = filter_of(JAVA)
        pending, receipt = Receipt(), Receipt()
        joining.take(logs("x Error: y", "b", receipt=receipt), "i")
        receipt.settle()
        joining.take(logs(*TRACE, receipt=pending), "i")
        [batch] = joining.handed_out("i")
        batch.receipt.settle()

        assert receipt.is_settled
        assert not pending.is_settled

    def test_bytes_are_handed_out_as_they_came_in(self) -> None:
        joining = filter_of(JAVA)
        joining.take(logs("a", *TRACE), "i")
        joining.take(logs(TRACE[1], "b"), "i")
        joining.release("i", None)

        assert [(len(b), b.size) for b in joining.handed_out("i")] == [(1, 10), (2, 50)]

    def test_rules_remember_where_they_were_when_silence_ended_the_message(self) -> None:
        joining = filter_of("multiline.parser dated\nmultiline.key_content log")
        for texts in (["2020- a", "  b"], ["  late1", "  late2"]):
            joining.take(logs(*texts), "i")
            joining.release("i", None)

        assert [b["log"] for b in bodies_of(joining.handed_out("i"))] == ["2020- a\n  b", "  late1\n  late2"]


@given(st.lists(st.lists(st.sampled_from(["plain", *TRACE, "y Error: z"]), min_size=1, max_size=5), max_size=8))
def test_any_division_into_batches_gives_the_same_records_and_settles_every_receipt(batches: list[list[str]]) -> None:
    joining = filter_of(JAVA)
    receipts = [Receipt() for _ in batches]
    handed_out: list[RecordBatch] = []
    for texts, receipt in zip(batches, receipts, strict=True):
        left = joining.take(logs(*texts, receipt=receipt), "i")
        if left is None:
            receipt.settle()
            handed_out += joining.handed_out("i")
        else:
            handed_out.append(left)
    joining.release("i", None)
    handed_out += joining.handed_out("i")
    for batch in handed_out:
        batch.receipt.settle()

    whole = joined(JAVA, [{"log": text} for texts in batches for text in texts])
    assert [b["log"] for b in bodies_of(handed_out)] == [b["log"] for b in whole]
    assert all(receipt.is_settled for receipt in receipts)
    assert sum(b.size for b in handed_out) == 10 * sum(map(len, batches))
    assert joining.held("i") == 0


class TestPartialMessages:
    def test_a_message_goes_on_in_the_place_of_its_last_part(self) -> None:
        bodies = [part("one ", "a", c=1), part("other ", "b", c=2), part("two", "a", last=True, c=3), {"log": "whole"}]
        batch = filter_of(PARTIAL).take(batch_from([*bodies, part("end", "b", last=True)]), "i")

        assert batch is not None
        assert [list(r.body.items()) for r in batch] == [
            [("c", 1), ("log", "one two")],
            [("log", "whole")],
            [("c", 2), ("log", "other end")],
        ]
        assert [r.time_ns - TIME_NS for r in batch] == [0, 3, 1]
        assert batch.size == 50

    def test_the_text_comes_last_and_ids_may_be_numbers(self) -> None:
        bodies = [part("a", 1, x=9) | {"partial_message": "TRUE"}, part("b", 1, last=True)]
        batch = filter_of(PARTIAL).take(batch_from(bodies), "i")

        assert batch is not None
        assert [list(r.body.items()) for r in batch] == [[("x", 9), ("log", "ab")]]

    @pytest.mark.parametrize(
        ("body", "remark"),
        [
            ({"log": "a", "partial_message": "false", "partial_id": "1"}, ""),
            ({"log": "a", "partial_message": True, "partial_id": "1"}, ""),
            ({"log": "a", "partial_mess": "true", "partial_id": "1"}, ""),
            ({"log": "a", "partial_message": "true"}, "no partial_id"),
            ({"msg": "a", "partial_message": "true", "partial_id": "1"}, "has no text in multiline.key_content"),
            ({"log": 5, "partial_message": "true", "partial_id": "1"}, "has no text in multiline.key_content"),
        ],
    )
    def test_what_is_no_part_passes_as_it_is(self, body: Body, remark: str, caplog: pytest.LogCaptureFixture) -> None:
        joining = filter_of(PARTIAL)
        with caplog.at_level(logging.WARNING, "shipper"):
            batch = joining.take(batch_from([body]), "i")

        assert bodies_of([batch] if batch else []) == [body]
        assert joining.held("i") == 0
        assert remark in caplog.text if remark else not caplog.text

    def test_a_message_without_its_last_part_is_handed_out_after_silence(self) -> None:
        joining = filter_of(f"{PARTIAL}\nflush_ms 100")
        first = joining.take(batch_from([part("a", x=9)]), "i")

        assert first is None
        assert joining.held("i") == 1
        assert joining.release("i", 0.05) == 0.1
        assert joining.release("i", 0.1) is None
        assert bodies_of(joining.handed_out("i")) == [{"x": 9, "log": "a"}]
        assert joining.held("i") == 0

    def test_tags_and_inputs_are_kept_apart(self) -> None:
        joining = filter_of(PARTIAL)
        joining.take(batch_from([part("a")], "t"), "i")
        joining.take(batch_from([part("b")], "u"), "i")
        joining.take(batch_from([part("c")], "t"), "j")
        ended = joining.take(batch_from([part("z", last=True)], "t"), "i")

        assert bodies_of([ended] if ended else []) == [{"log": "az"}]
        assert (joining.held("i"), joining.held("j")) == (1, 1)

    def test_every_batch_with_a_part_is_owed_until_the_message_is_settled(self) -> None:
        joining = filter_of(PARTIAL)
        receipts = [Receipt(), Receipt(), Receipt()]
        joining.take(batch_from([part("a"), part("b")], receipt=receipts[0]), "i")
        receipts[0].settle()
        between = joining.take(batch_from([{"log": "w"}, part("c")], receipt=receipts[1]), "i")
        last = joining.take(batch_from([part("d", last=True)], receipt=receipts[2]), "i")
        assert between is not None
        assert last is not None
        between.receipt.settle()

        assert [r.is_settled for r in receipts] == [False] * 3
        last.receipt.settle()
        assert [r.is_settled for r in receipts] == [True] * 3

    def test_buffer_off_is_told_and_taken_to_be_on(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.ERROR, "shipper"):
            joining = filter_of(f"{PARTIAL}\nbuffer off")
        joining.take(batch_from([part("a")]), "i")

        assert joining.held("i") == 1
        assert "requires 'Buffer' to be 'On'" in caplog.text


class TestOptions:
    def test_all_options_of_fluent_bit_are_accepted(self) -> None:
        lines = "emitter_name e\nemitter_storage.type filesystem\nemitter_mem_buf_limit 5M\ndebug_flush on\nbuffer on"
        options = options_from(MultilineOptions, f"{JAVA}\nmultiline.parser go\n{lines}\nmode parser")

        assert options.multiline_parser == ("java", "go")
        assert options.flush_ms == 2000

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            ("multiline.key_content log", "'multiline.parser' is required"),
            (f"{JAVA}\nflush_ms 499", "'499' is too low"),
            ("mode partial_message", "'multiline.key_content' is required with mode partial_message"),
            (f"{JAVA}\nmode other", "'other' is not possible"),
            (f"{JAVA}\nemitter_storage.type disk", "'disk' is not possible"),
        ],
    )
    def test_what_cannot_work_stops_the_start(self, lines: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            options_from(MultilineOptions, lines)

        assert message in str(caught.value)

    def test_a_short_flush_is_fine_for_partial_messages(self) -> None:
        assert options_from(MultilineOptions, f"{PARTIAL}\nflush_ms 100").flush_ms == 100

    def test_an_unknown_parser_stops_the_start(self) -> None:
        with pytest.raises(OptionError, match="names parser 'jav', which is not registered") as caught:
            filter_of("multiline.parser jav")

        assert caught.value.remedy == "did you mean 'java'?"
