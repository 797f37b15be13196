"""What the multiline engine holds: buffer limit, silence, spans of pending lines, and its behaviour as a whole."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from shipper.parsers.pending import Span

from .joining import DATED, DATED_RULES, cri, docker, feed, finish, joined, joiner_of, rules, texts

TRACE = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "    x()", "ValueError: bad"]


class TestBufferLimit:
    LINES = ("2020- " + "a" * 34, "  " + "b" * 28, "  " + "c" * 48, "2021- next", "plain")

    def test_a_text_joined_by_rules_is_cut_to_it(self) -> None:
        records = joined([DATED], list(self.LINES), limit=80)

        assert texts(records) == ["\n".join(self.LINES)[:80] + "\n", "2021- next\n", "plain\n"]
        assert [r.truncated for r in records] == [True, False, False]

    def test_lines_behind_the_cut_are_no_part_of_the_record(self) -> None:
        records = joined([DATED], ["2020- abcdef", "  g", "  h", "  i"], limit=10)

        assert texts(records) == ["2020- abcd\n", "  g\n", "  h\n", "  i\n"]

    def test_a_text_that_just_fits_is_whole(self) -> None:
        [record] = joined([DATED], ["2020- a", "  b"], limit=11)

        assert (record.body["log"], record.truncated) == ("2020- a\n  b\n", False)

    def test_a_character_is_not_cut_in_two(self) -> None:
        [record] = joined([DATED], ["2020- éé"], limit=9)

        assert (record.body["log"], record.truncated) == ("2020- é\n", True)

    def test_a_line_that_stands_alone_is_cut_too(self) -> None:
        [record] = joined([DATED], ["x" * 20], limit=10)

        assert (record.body["log"], record.truncated) == ("x" * 10 + "\n", True)

    def test_container_lines_have_no_limit(self) -> None:
        [record] = joined(["cri"], [cri("P " + "x" * 50), cri("F y")], limit=10)

        assert (record.body["log"], record.truncated) == ("x" * 50 + "y", False)

    def test_zero_is_no_limit(self) -> None:
        [record] = joined([DATED], ["2020- " + "x" * 5000], limit=0)

        assert len(record.body["log"]) == 5007


class TestSilence:
    def test_a_message_is_finished_when_it_is_due(self) -> None:
        joiner = joiner_of(DATED)
        feed(joiner, ["2020- a", "  b"])
        joiner.touch(100.0)
        joiner.flush_due(103.9)
        before = joiner.take()
        joiner.flush_due(104.0)

        assert before == []
        assert texts(joiner.take()) == ["2020- a\n  b\n"]

    def test_late_continuations_are_a_record_of_their_own(self) -> None:
        joiner = joiner_of(DATED)
        end = feed(joiner, ["2020- a", "  b"])
        first = finish(joiner)
        feed(joiner, ["  late1", "  late2"], end)

        assert texts(first) == ["2020- a\n  b\n"]
        assert texts(finish(joiner)) == ["  late1\n  late2\n"]

    def test_a_new_line_moves_the_deadline_of_its_own_group_only(self) -> None:
        joiner = joiner_of("cri")
        end = feed(joiner, [cri("P out")])
        joiner.touch(100.0)
        feed(joiner, [cri("P err", "stderr")], end)
        joiner.touch(102.0)

        assert joiner.deadline() == 104.0
        joiner.flush_due(104.0)
        assert texts(joiner.take()) == ["out"]
        assert joiner.deadline() == 106.0

    def test_time_does_not_count_until_the_reader_is_at_the_end(self) -> None:
        joiner = joiner_of("cri")
        end = feed(joiner, [cri("P out")])
        joiner.touch(100.0)
        feed(joiner, [cri("F err", "stderr")], end)
        joiner.flush_due(200.0)

        assert joiner.deadline() is None
        assert texts(joiner.take()) == ["err"]

    def test_an_idle_joiner_has_no_deadline(self) -> None:
        joiner = joiner_of("cri")
        feed(joiner, [cri("F a")])
        joiner.touch(100.0)

        assert joiner.deadline() is None
        assert joiner.is_idle

    def test_each_definition_has_its_own_timeout(self) -> None:
        joiner = joiner_of("cri", rules(*DATED_RULES, flush_timeout_s=1.0))
        feed(joiner, [cri("P a"), "2020- b"])
        joiner.touch(100.0)

        assert joiner.deadline() == 101.0

    def test_the_end_of_the_stream_finishes_everything(self) -> None:
        joiner = joiner_of("docker", "cri")
        feed(joiner, [cri("P x"), docker("a"), cri("P e", "stderr")])
        joiner.flush_all()

        assert sorted(texts(joiner.take())) == ["a", "e", "x"]
        assert joiner.open_spans() == []


class TestSpans:
    def test_pending_lines_are_reported_in_order_and_merged(self) -> None:
        joiner = joiner_of("cri")
        lines = [cri("F whole"), cri("P o1"), cri("P e1", "stderr"), cri("P o2"), cri("F x", "stderr"), cri("P o3")]
        ends = [sum(len(line) + 1 for line in lines[:n]) for n in range(7)]
        feed(joiner, lines)

        assert joiner.open_spans() == [
            Span(0, ends[1], ends[2]),
            Span(0, ends[3], ends[4]),
            Span(0, ends[5], ends[6]),
        ]

    def test_neighbours_of_different_groups_are_one_span(self) -> None:
        joiner = joiner_of("cri")
        end = feed(joiner, [cri("P o1"), cri("P e1", "stderr"), cri("P o2")])

        assert joiner.open_spans() == [Span(0, 0, end)]

    def test_a_message_may_begin_in_one_file_and_end_in_the_next(self) -> None:
        joiner = joiner_of("cri")
        feed(joiner, [cri("P a")], 500, "old")
        feed(joiner, [cri("P b")], 0, "new")
        length = len(cri("P a")) + 1

        assert joiner.open_spans() == [Span("old", 500, 500 + length), Span("new", 0, length)]
        feed(joiner, [cri("F c")], length, "new")
        assert joiner.open_spans() == []
        [record] = joiner.take()
        assert (record.body["log"], record.size) == ("abc", 3 * length)

    def test_a_record_knows_the_line_that_finished_it(self) -> None:
        joiner = joiner_of(DATED)
        feed(joiner, ["2020- a", "  b", "2021- c"])
        records = finish(joiner)

        assert [(r.offset, r.size) for r in records] == [(12, 12), (20, 8)]

    def test_a_blank_line_that_vanishes_is_counted_and_holds_nothing(self) -> None:
        joiner = joiner_of("cri")
        feed(joiner, ["", cri("P a")])

        assert joiner.statistics().vanished_lines == 1
        assert joiner.statistics().open_groups == 1
        assert joiner.open_spans() == [Span(0, 1, len(cri("P a")) + 2)]


CONTAINER_LINES = st.lists(
    st.tuples(
        st.sampled_from(["docker", "cri", "raw"]),
        st.sampled_from(["stdout", "stderr"]),
        st.booleans(),
        st.text(alphabet="ab {}é", min_size=1, max_size=4),
    ),
    max_size=30,
)
Line = tuple[str, str, bool, str]


def rendered(line: Line) -> str:
    form, stream, is_last, text = line
    if form == "docker":
        return docker(text + "\\n" if is_last else text, stream)
    return cri(f"{'F' if is_last else 'P'} {text}", stream) if form == "cri" else f"raw {text}"


def expected_of(lines: list[Line]) -> list[str]:
    """A model of the engine: a text for each form and stream, given out when it is complete."""
    pending: dict[tuple[str, str], str] = {}
    order = [(form, stream) for form in ("docker", "cri") for stream in ("stdout", "stderr")]
    logs: list[str] = []

    def give_out_all() -> None:
        logs.extend(pending.pop(key) for key in order if key in pending)

    for form, stream, is_last, text in lines:
        if form == "raw":
            give_out_all()
            logs.append(f"raw {text}")
            continue
        pending[form, stream] = pending.get((form, stream), "") + text + ("\n" if is_last and form == "docker" else "")
        if is_last:
            logs.append(pending.pop((form, stream)))
    give_out_all()
    return logs


@given(CONTAINER_LINES)
def test_container_lines_are_joined_as_by_a_simple_model(lines: list[Line]) -> None:
    streams_first = [("docker", "stdout", True, "x"), ("docker", "stderr", True, "x")]
    all_lines: list[Line] = [*streams_first, ("cri", "stdout", True, "x"), ("cri", "stderr", True, "x"), *lines]

    records = joined(["docker", "cri"], [rendered(line) for line in all_lines])

    assert texts(records) == expected_of(all_lines)


@given(CONTAINER_LINES)
def test_finished_records_and_open_spans_cover_all_lines(lines: list[Line]) -> None:
    joiner = joiner_of("docker", "cri")
    end, finished = 0, 0
    for line in lines:
        end = feed(joiner, [rendered(line)], end)
        finished += sum(record.size for record in joiner.take())
        spans = joiner.open_spans()

        assert finished + sum(span.end - span.start for span in spans) == end
        assert all(a.end < b.start for a, b in itertools.pairwise(spans))
        assert joiner.is_idle == (not spans)


@given(CONTAINER_LINES)
def test_lines_read_again_from_the_first_open_byte_lose_no_record(lines: list[Line]) -> None:
    """A restart reads from the first pending line on: every text is there, in the first run or in the second."""
    rows = [rendered(line) for line in lines]
    before = joiner_of("docker", "cri")
    feed(before, rows)
    spans = before.open_spans()
    done = before.take()
    starts = [sum(len(row.encode()) + 1 for row in rows[:n]) for n in range(len(rows))]
    again = [row for row, start in zip(rows, starts, strict=True) if spans and start >= spans[0].start]

    second = joined(["docker", "cri"], again)

    assert set(texts(joined(["docker", "cri"], rows))) <= set(texts(done)) | set(texts(second))


def test_the_joiner_shows_what_it_holds() -> None:
    joiner = joiner_of("docker", "cri")
    feed(joiner, [cri("P a")])

    assert re.match(r"Joiner\(docker, cri; .*open_groups=1", repr(joiner))
