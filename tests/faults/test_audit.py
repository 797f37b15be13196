"""The audit finds each kind of fault, and excuses the duplicates it has to excuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.components.generator import Manifest, message
from tests.components.sink import Outcome, Put
from tests.faults.audit import Audit, Event, Verdict, audit

_OUT = "web:stdout"
_ERR = "web:stderr"


def put(number: int, begun: float, outcome: Outcome = "answered") -> Put:
    return Put(number, begun, begun + 0.1, outcome, 1)


def judge(events: Sequence[tuple[int, str, int]], puts: Sequence[Put] = (), kills: Sequence[float] = ()) -> Verdict:
    """The verdict on events given as (put, stream, number) when three stdout and one stderr messages were written."""
    return judge_texts([(number, message(stream, of)) for number, stream, of in events], puts, kills)


def judge_texts(texts: Sequence[tuple[int, str]], puts: Sequence[Put] = (), kills: Sequence[float] = ()) -> Verdict:
    court = Audit(Manifest({_OUT: 3, _ERR: 1}, 0, 0), puts, kills)
    for number, text in texts:
        court.take((number, "log-stream", text))
    return court.verdict()


_ALL = [(1, _OUT, 0), (1, _ERR, 0), (2, _OUT, 1), (2, _OUT, 2)]


def test_everything_once_and_in_order_is_clean() -> None:
    verdict = judge(_ALL)

    assert verdict.is_clean
    assert (verdict.written, verdict.delivered, verdict.duplicates) == (4, 4, 0)


def test_what_did_not_arrive_is_lost_and_named() -> None:
    verdict = judge([(1, _ERR, 0), (1, _OUT, 1)])

    assert (verdict.lost, verdict.delivered) == (2, 2)
    assert verdict.culprits == ["lost, web:stdout: 0, 2"]


def test_what_was_at_risk_may_be_missing_and_is_counted_apart() -> None:
    court = Audit(Manifest({_OUT: 3}, 1, 0, {_OUT: [0, 1]}), (), ())
    court.take((1, "log-stream", message(_OUT, 1)))

    verdict = court.verdict()
    assert (verdict.delivered, verdict.lost, verdict.never_readable) == (1, 1, 1)
    assert verdict.culprits == ["lost, web:stdout: 2"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(message(_OUT, 1)[:-1], id="cut"),
        pytest.param(message(_OUT, 1) + message(_OUT, 2), id="glued"),
        pytest.param(message(_OUT, 3), id="never written"),
        pytest.param(message("api:stdout", 0), id="of nobody"),
        pytest.param("tail of a message", id="without an address"),
    ],
)
def test_a_text_that_was_not_written_is_broken(text: str) -> None:
    verdict = judge_texts([(1, text)])

    assert verdict.broken == 1
    assert not verdict.is_clean


def test_a_first_arrival_behind_a_later_one_is_out_of_order() -> None:
    verdict = judge([(1, _OUT, 1), (1, _OUT, 0), (1, _ERR, 0), (1, _OUT, 2)])

    assert (verdict.disordered, verdict.lost) == (1, 0)
    assert not verdict.is_clean


def test_a_range_sent_again_is_not_out_of_order() -> None:
    again = [*_ALL, (3, _OUT, 1), (3, _OUT, 2)]

    verdict = judge(again, [put(1, 5), put(2, 10, "in_doubt"), put(3, 11)])

    assert verdict.is_clean
    assert verdict.duplicates == 2


def test_a_duplicate_of_an_answered_put_needs_a_kill() -> None:
    again, puts = [*_ALL, (3, _OUT, 2)], [put(1, 5), put(2, 10), put(3, 12)]

    blamed = judge(again, puts)
    assert blamed.unexplained == 1
    assert blamed.culprits == ["twice without a reason, web:stdout: 2 in put 2, answered, and put 3"]
    assert judge(again, puts, kills=[10.5]).unexplained == 0
    assert judge(again, puts, kills=[9.9]).unexplained == 0  # the request was on its way


@pytest.mark.parametrize("kill", [8.5, 11.5, 12.5], ids=["before the put", "long after it", "after both"])
def test_a_kill_at_another_time_explains_nothing(kill: float) -> None:
    verdict = judge([*_ALL, (3, _OUT, 2)], [put(1, 5), put(2, 10), put(3, 12)], kills=[kill])

    assert verdict.unexplained == 1


def test_a_put_against_the_rules_spoils_the_verdict() -> None:
    verdict = judge(_ALL, [Put(9, 1, 2, "invalid", 3, "out of order")])

    assert not verdict.is_clean
    assert verdict.culprits == ["invalid put 9: out of order"]


def test_the_files_of_a_sink_are_judged(tmp_path: Path) -> None:
    event: Event = (1, "s", message(_OUT, 0))
    (tmp_path / "events.jsonl").write_bytes(msgspec.json.encode(event) + b"\n")
    (tmp_path / "puts.jsonl").write_bytes(msgspec.json.encode(put(1, 5)) + b"\n")

    verdict = audit(Manifest({_OUT: 1}, 0, 0), tmp_path)

    assert verdict.is_clean
    assert str(verdict).startswith("written 1 = delivered 1 + lost 0 + never readable 0; duplicates 0")


def test_a_sink_that_got_nothing_has_lost_everything(tmp_path: Path) -> None:
    assert audit(Manifest({_OUT: 5}, 0, 0), tmp_path).lost == 5
