"""What hurts users of other shippers with Loki, a test for each row of the list (K1 to K4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from shipper.buffers.base import Delivery
from shipper.clock import Clock
from shipper.net.settings import HttpAnswer
from shipper.testing import ManualClock

from ...components.loki import SECOND, Limits, Refused, Store, decoded
from .making import MS, T0, ScriptedHttp, Sending, batch, logs

HOUR = 3600 * SECOND


class JudgedHttp(ScriptedHttp):
    """Answers as the store judges, without a network between."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> HttpAnswer:
        await asyncio.sleep(0)
        sent = {name.lower(): value for name, value in headers.items()}
        try:
            self.store.push(sent.get("x-scope-orgid", ""), decoded(sent, body))
        except Refused as refusal:
            return HttpAnswer(refusal.status, {}, refusal.text.encode())
        return HttpAnswer(204, {}, b"")


def judged(limits: Limits, options: str, clock: Clock | None = None) -> tuple[Sending, Store]:
    store = Store(limits, clock.monotonic) if clock is not None else Store(limits)
    return Sending(JudgedHttp(store), options, clock), store


async def test_k1_entries_that_are_too_old_are_counted_and_block_nothing() -> None:
    sending, store = judged(Limits(), "labels job=x, s=$s\nlate_label off")
    await sending.send(batch({"s": "a", "log": "newest"}, first_ns=T0 + 5 * HOUR))
    behind = batch(*[{"s": "a", "log": f"old {n}"} for n in range(3)], {"s": "b", "log": "good"})
    delivery = await sending.send(behind, batch({"s": "a", "log": "new"}, first_ns=T0 + 5 * HOUR + 2 * MS))
    lines = [s.entry.line for s in store.entries]

    assert lines == ['{"log":"newest"}', '{"log":"new"}', '{"log":"good"}']
    assert {reason: n for reason, (n, _) in delivery.refused.items()} == {"too_far_behind": 3}
    assert delivery.accepted == 2


async def test_k1_of_several_streams_that_are_behind_all_are_mended() -> None:
    sending, store = judged(Limits(), "labels job=x, s=$s")
    new = [batch({"s": s, "log": f"new {s}"}, first_ns=T0 + 5 * HOUR) for s in "abc"]
    await sending.send(*new)
    behind = batch(*[{"s": s, "log": f"old {s} {n}"} for n in range(3) for s in "abc"])
    delivery = await sending.send(behind)

    assert sorted(s.entry.line for s in store.entries if "old" in s.entry.line) == sorted(
        f'{{"log":"old {s} {n}"}}' for n in range(3) for s in "abc"
    )
    assert {dict(s.labels).get("late") for s in store.entries if "old" in s.entry.line} == {"app.web"}
    assert (delivery.accepted, delivery.refused_records) == (9, 0)


async def test_k1_labels_that_a_late_stream_has_no_room_for_become_metadata() -> None:
    sending, store = judged(Limits(), "labels job=x, s=$s\nmax_streams 3")
    await sending.send(batch({"s": "a", "log": "new"}, first_ns=T0 + 5 * HOUR))
    await sending.send(batch({"s": "b", "log": "other"}, first_ns=T0 + 5 * HOUR))
    delivery = await sending.send(batch({"s": "a", "log": "old"}))
    [old] = [s for s in store.entries if "old" in s.entry.line]

    assert delivery.accepted + delivery.refused_records == 1
    assert dict(old.labels).get("s") == "a" or dict(old.entry.metadata).get("s") == "a"


async def test_k2_every_answer_and_every_refusal_is_counted_by_its_reason() -> None:
    now = T0 + 30 * 24 * HOUR
    sending, _ = judged(Limits(now_ns=now), "labels job=x")
    delivery = await sending.send(logs("old"), logs("new", first_ns=now))

    assert sending.context.metrics.by_label("output_answers_total", "status") == {"400": 1}
    assert list(delivery.refused) == ["too_old"]


async def test_k3_a_limited_tenant_uses_its_limit_and_recovers_when_it_is_lifted() -> None:
    clock = ManualClock()
    limit = 1_000_000
    sending, store = judged(Limits(rate=limit, burst=1_200_000), "labels job=x\ndrop_single_key raw", clock)
    waiting = [logs(*["x" * 1000] * 500, first_ns=T0 + n * SECOND) for n in range(240)]
    sent: list[Delivery] = []

    async def lane() -> None:
        while waiting:
            sent.append(await sending.send(waiting.pop(0)))

    async with asyncio.TaskGroup() as lanes:
        for _ in range(4):
            lanes.create_task(lane())
        for _ in range(60):
            await clock.advance(1.0)
        limited = sum(len(s.entry.line) for s in store.entries)
        store.limits = Limits()
        for _ in range(10):
            await clock.advance(1.0)
        recovered = sum(len(s.entry.line) for s in store.entries) - limited
        for _ in range(60):
            await clock.advance(1.0)

    assert limited >= 0.9 * limit * 60
    assert recovered >= 3_000_000 * 9
    assert sum(d.accepted for d in sent) == 240 * 500 == len(store.entries)
    assert store.duplicates == 0
    assert not any(d.refused for d in sent)


async def test_k4_labels_that_explode_stay_below_the_guard_and_no_line_is_refused() -> None:
    limits = Limits(streams=600)
    few = ", ".join(f"l{n}=$l{n}" for n in range(25))
    sending, store = judged(limits, f"labels {few}, pod=$pod, request=$request\nmax_streams 500")
    accepted = 0
    for start in range(0, 2000, 200):
        bodies = [
            {**{f"l{n}": "v" for n in range(25)}, "pod": f"pod-{n // 5}", "request": f"r{n}", "log": f"line {n}"}
            for n in range(start, start + 200)
        ]
        delivery = await sending.send(batch(*bodies, first_ns=T0 + start * MS))
        accepted += delivery.accepted
        assert not delivery.refused

    assert accepted == 2000
    assert {s.entry.line for s in store.entries} == {f'{{"log":"line {n}"}}' for n in range(2000)}
    assert len(store.streams) <= 500
    assert all(len(labels) <= 15 for _, labels in store.streams)


async def test_k4_a_label_that_is_too_long_costs_only_its_end_and_its_whole_stays_in_metadata() -> None:
    limits = Limits(label_value_size=512)
    sending, store = judged(limits, "labels app=$app, pod=$pod")
    too_long = "limit 3 ', limit: '3' request too large " + "a" * 700
    delivery = await sending.send(batch({"app": "web", "pod": too_long, "n": 1}, {"app": "web", "pod": "p2", "n": 2}))
    await sending.send(batch({"app": "web-server", "pod": too_long, "n": 3}, {"app": "web", "pod": "pod-2", "n": 4}))
    stored = {s.entry.line: (dict(s.labels), dict(s.entry.metadata)) for s in store.entries}
    cut = too_long[: len(too_long) // 2]

    assert (delivery.accepted, delivery.refused_records) == (2, 0)
    assert stored == {
        '{"n":1}': ({"app": "web", "pod": cut}, {"pod": too_long}),
        '{"n":2}': ({"app": "web", "pod": "p2"}, {}),
        '{"n":3}': ({"app": "web-server", "pod": cut}, {"pod": too_long}),
        '{"n":4}': ({"app": "web", "pod": "pod-2"}, {}),
    }


async def test_k4_values_up_to_the_usual_limit_are_cut_to_it() -> None:
    sending, store = judged(Limits(), "labels app=$app")
    delivery = await sending.send(batch({"app": "é" * 2000, "n": 1}))
    [stored] = store.entries

    assert (delivery.accepted, delivery.refused_records) == (1, 0)
    assert (dict(stored.labels), dict(stored.entry.metadata)) == ({"app": "é" * 1024}, {"app": "é" * 2000})
