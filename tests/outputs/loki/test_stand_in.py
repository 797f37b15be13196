"""The stand-in for Loki is as strict as the real one, or its silence would prove nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.components.loki import SECOND, Entry, Labels, Limits, Refused, Store, decoded

NOW = 1_700_000_000 * SECOND
X: Labels = (("job", "x"),)


def push(limits: Limits, *streams: tuple[Labels, Sequence[Entry]]) -> tuple[list[str], str]:
    """The lines that were stored, and what was said about the others."""
    store = Store(limits, lambda: 0.0)
    words = ""
    try:
        store.push("t", [(labels, list(entries)) for labels, entries in streams])
    except Refused as refusal:
        words = f"{refusal.status} {refusal.text}"
    return [s.entry.line for s in store.entries], words


@pytest.mark.parametrize(
    ("limits", "entries", "stored", "words"),
    [
        (Limits(line_size=3), [Entry(NOW, "long"), Entry(NOW, "ok")], ["ok"], "400 Max entry size '3' bytes"),
        (Limits(), [Entry(NOW, "a"), Entry(NOW - 3601 * SECOND, "b")], ["a"], "total ignored: 1 out of 2"),
        (Limits(now_ns=NOW), [Entry(1, "a"), Entry(NOW, "b")], ["b"], "has timestamp too old: 1970-01-01T00:00:00Z"),
        (Limits(now_ns=NOW), [Entry(NOW + 601 * SECOND, "a")], [], "has timestamp too new"),
        (Limits(takes_metadata=False), [Entry(NOW, "a", X), Entry(NOW, "b")], ["b"], "this feature is disallowed"),
        (Limits(metadata_size=3), [Entry(NOW, "a", X)], [], "structured metadata too large"),
        (Limits(rate=10, burst=10), [Entry(NOW, "a" * 11)], [], "429 ingestion rate limit exceeded for user t"),
        (Limits(stream_rate=10), [Entry(NOW, "a" * 11)], [], "429 Per stream rate limit exceeded"),
        (Limits(streams=0), [Entry(NOW, "a")], [], "429 Maximum active stream limit exceeded"),
        (Limits(), [], [], "422 error at least one valid stream"),
    ],
)
def test_entries(limits: Limits, entries: list[Entry], stored: list[str], words: str) -> None:
    found, said = push(limits, (X, entries))

    assert found == stored
    assert words in said


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((), "at least one label pair"),
        ((("bad-name", "v"),), "error parsing labels"),
        ((("a", "1"), ("a", "2")), "duplicate label name"),
        (tuple((f"l{n}", "v") for n in range(16)), "has 16 label names; limit 15"),
        ((("a", "v" * 2049),), "label value too long"),
    ],
)
def test_a_stream_with_bad_labels_is_refused_and_the_others_are_stored(labels: Labels, words: str) -> None:
    found, said = push(Limits(), (labels, [Entry(NOW, "bad")]), (X, [Entry(NOW, "good")]))

    assert found == ["good"]
    assert said.startswith("400 ")
    assert words in said


@pytest.mark.parametrize("value", [[1, "x"], ["1", 2], ["1", "x", {"a": 1}], ["1", "x", {}, {}], ["1"]])
def test_bodies_that_are_not_exact_are_refused(value: list[object]) -> None:
    body = json.dumps({"streams": [{"stream": {"job": "x"}, "values": [value]}]}).encode()
    with pytest.raises((ValueError, AttributeError)):
        decoded({"content-type": "application/json"}, body)
