"""What Loki's words mean, and that no words of records are taken for Loki's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.outputs.loki.verdicts import Kind, Verdict, told_in, verdict_on

from .making import says

SENTENCES = [
    ("max entry size '40' bytes exceeded for stream '{}' while adding an entry with length '99' bytes",
     Kind.LINES_TOO_LONG, 40),
    ("stream '{}' includes structured metadata, but this feature is disallowed. Please see `limits`",
     Kind.NO_METADATA, None),
    ("stream '{}' has structured metadata too large: '99' bytes, limit: '40' bytes. Please see `limits`",
     Kind.BAD_METADATA, 40),
    ("stream '{}' has too many structured metadata labels: '99', limit: '40'. Please see `limits`",
     Kind.BAD_METADATA, 40),
    ("entry for stream '{}' has 99 label names; limit 40", Kind.BAD_STREAM, 40),
    ("stream '{}' has label name too long: 'RAW'", Kind.BAD_STREAM, None),
    ("stream '{}' has label value too long: 'RAW'", Kind.BAD_STREAM, None),
    ("stream '{}' has duplicate label name: 'RAW'", Kind.BAD_STREAM, None),
    ("error parsing labels '{}' with error: parse error: RAW", Kind.BAD_STREAM, None),
    ("entry for stream '{}' has timestamp too old: x, oldest acceptable timestamp is: y", Kind.SOME_REFUSED, None),
    ("entry for stream '{}' has timestamp too new: x", Kind.SOME_REFUSED, None),
    ("entry with timestamp x ignored, reason: 'entry too far behind, entry timestamp is: x, oldest acceptable"
     " timestamp is: y',\nuser 't', total ignored: 1 out of 3 for stream: {}", Kind.SOME_REFUSED, None),
]  # fmt: skip

FOREIGN = [
    "limit 3 aaa",
    "', limit: '3'",
    "request too large",
    "max entry size '3' bytes",
    "total ignored: 99 out of 100",
    "7 errors like: timestamp too new",
    'x"}\' has 9 label names; limit 1 {job="other"}',
    '{job="other"}',
    '{job="',
    "structured metadata, but this feature is disallowed",
    "\\",
    '"',
    "label value too long: 'x",
    "entry with timestamp 2023-11-14 22:13:20 +0000 UTC",
    "with error: duplicate label name",
    "per stream rate limit; active stream limit; limit: 1 bytes",
]


def selector(value: str) -> str:
    return f'{{a="1", job={json.dumps(value, ensure_ascii=False)}}}'


def filled(sentence: str, value: str) -> str:
    return sentence.replace("{}", selector(value)).replace("RAW", value)


def meant(text: str, status: int = 400) -> Verdict:
    return verdict_on(says(status, text))


@pytest.mark.parametrize(("sentence", "kind", "limit"), SENTENCES)
def test_a_sentence_of_loki_is_understood(sentence: str, kind: Kind, limit: int | None) -> None:
    verdict = meant(filled(sentence, "x"))

    assert (verdict.kind, verdict.limit) == (kind, limit)
    assert verdict.streams == ({"a": "1", "job": "x"},)


@pytest.mark.parametrize("value", FOREIGN)
@pytest.mark.parametrize("sentence", [sentence for sentence, _, _ in SENTENCES])
def test_words_in_a_label_are_not_taken_for_those_of_loki(sentence: str, value: str) -> None:
    verdict, expected = meant(filled(sentence, value)), meant(filled(sentence, "x"))

    assert verdict.streams == ({"a": "1", "job": value},)
    assert (verdict.kind, verdict.reason, verdict.limit) == (expected.kind, expected.reason, expected.limit)
    assert (verdict.refused, verdict.oldest_ns, verdict.times_ns) == (
        expected.refused, expected.oldest_ns, expected.times_ns,
    )  # fmt: skip


@given(st.lists(st.sampled_from([*FOREIGN, "x", " ", "\n", "é"]), max_size=5).map("".join))
def test_no_label_changes_the_words(value: str) -> None:
    for sentence, _, _ in SENTENCES:
        assert told_in(filled(sentence, value)).words == told_in(filled(sentence, "x")).words


@pytest.mark.parametrize("value", FOREIGN)
@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("Per stream rate limit exceeded (limit: 3MB/sec) for stream '{}' totaling 5MB", Kind.STREAM_RATE),
        ("Maximum active stream limit exceeded when trying to create stream {}, reduce", Kind.TOO_MANY_STREAMS),
    ],
)
def test_words_in_a_label_do_not_make_another_limit(sentence: str, kind: Kind, value: str) -> None:
    verdict = meant(filled(sentence, value), 429)

    assert (verdict.kind, verdict.streams, verdict.limit) == (kind, ({"a": "1", "job": value},), None)


@pytest.mark.parametrize(
    ("status", "text", "kind", "limit"),
    [
        (204, "", Kind.ACCEPTED, None),
        (260, "blocked", Kind.BLOCKED, None),
        (301, "", Kind.DENIED, None),
        (401, "no org id", Kind.DENIED, None),
        (408, "context canceled", Kind.LATER, None),
        (413, "", Kind.TOO_LARGE, None),
        (429, "ingestion rate limit exceeded for user t (limit: 1000 bytes/sec)", Kind.TENANT_RATE, 1000),
        (429, "", Kind.TENANT_RATE, None),
        (500, "received message larger than max (5 vs. 4)", Kind.TOO_LARGE, None),
        (503, "", Kind.LATER, None),
        (999, "", Kind.LATER, None),
        (400, "<html>", Kind.DENIED, None),
        (400, "", Kind.UNREADABLE, None),
        (400, "\x00\ufffd", Kind.UNREADABLE, None),
        (400, "max entry size 'many' bytes", Kind.LINES_TOO_LONG, None),
        (400, f"max entry size '{'9' * 5000}' bytes", Kind.LINES_TOO_LONG, 10**18 - 1),
        (400, f"total ignored: {'9' * 5000} out of 3", Kind.SOME_REFUSED, None),
        (400, "timestamp too old: x, oldest acceptable timestamp is: 2023-99-99T99:99:99Z", Kind.SOME_REFUSED, None),
        (400, "timestamp too old: x, oldest acceptable timestamp is: 0000-00-00T00:00:00Z", Kind.SOME_REFUSED, None),
        (400, "too far behind: entry with timestamp 9999-99-99 99:99:99 +0000 UTC", Kind.SOME_REFUSED, None),
        (400, "has 9 label names; limit", Kind.BAD_STREAM, None),
        (400, "{" * 10_000, Kind.UNREADABLE, None),
        (400, '{"message":"timestamp too old"}', Kind.SOME_REFUSED, None),
    ],
)
def test_every_answer_means_something(status: int, text: str, kind: Kind, limit: int | None) -> None:
    verdict = meant(text, status)

    assert (verdict.kind, verdict.limit) == (kind, limit)
