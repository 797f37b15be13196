"""The guard against label explosion."""

from __future__ import annotations

from shipper.log import Log
from shipper.outputs.loki.guard import Shape
from shipper.testing import ManualClock

from .making import ScriptedHttp, Sending, batch


def shape(most: int, clock: ManualClock | None = None) -> tuple[Shape, list[int]]:
    counted: list[int] = []
    return Shape(most, clock or ManualClock(), Log("[test] "), counted.append), counted


def test_few_streams_keep_their_labels() -> None:
    guard, counted = shape(10)
    found = [guard.admit(None, (("job", "x"), ("pod", str(n % 5)))) for n in range(100)]

    assert {moved for _, moved in found} == {()}
    assert (guard.streams, counted) == (5, [])


def test_the_label_with_the_most_values_becomes_metadata() -> None:
    guard, counted = shape(100)
    found = [guard.admit("t", (("job", "x"), ("pod", f"p{n % 4}"), ("request", str(n)))) for n in range(1000)]

    labels, moved = found[-1]
    assert (labels, moved) == ((("job", "x"), ("pod", "p3")), (("request", "999"),))
    assert guard.streams <= 100
    assert sum(counted) == 1000 - 90


def test_streams_are_bounded_however_many_labels_explode() -> None:
    guard, _ = shape(50)
    for n in range(2000):
        guard.admit(None, (("a", str(n)), ("b", str(n * 7)), ("c", str(n * 13))))

    assert guard.streams <= 52


async def test_old_streams_make_room_for_new_ones() -> None:
    clock = ManualClock()
    guard, counted = shape(10, clock)
    for minute in range(5):
        for n in range(4):
            guard.admit(None, (("pod", f"{minute}-{n}"),))
        await clock.advance(60)

    assert counted == []


def test_limits_that_a_server_shows_have_a_bound() -> None:
    guard, _ = shape(10)
    for _ in range(20):
        guard.learn_longest("value", 3)
        guard.learn_longest("name", 3)
        guard.learn_most_labels(0)

    assert (guard.longest_value, guard.longest_name, guard.most_labels) == (128, 64, 1)


def test_what_is_shortened_stays_whole_in_metadata() -> None:
    guard, _ = shape(10)
    guard.learn_longest("value", 5000)
    guard.learn_longest("name", 5000)
    guard.learn_most_labels(3)
    name, value = "n" * 2000, "v" * 3000
    labels, moved = guard.fitted((("a", value), (name, "x"), (f"{name}b", "y"), ("c", "z"), ("d", value)))

    assert labels == (("a", value[:2048]), (name[:1024], "y"), ("c", "z"))
    assert moved == (("a", value), (name, "x"), (f"{name}b", "y"), ("d", value))


async def test_what_loses_a_label_arrives_and_is_counted() -> None:
    sending = Sending(ScriptedHttp(), "labels job=x, id=$id\nmax_streams 10")
    delivery = await sending.send(batch(*[{"id": str(n), "log": f"l{n}"} for n in range(200)]))

    streams = [s for _, body in sending.http.sent for s in body["streams"]]
    rest = [s for s in streams if "id" not in s["stream"]]
    assert len(streams) <= 10
    assert sum(len(s["values"]) for s in streams) == delivery.accepted == 200
    assert {v[2]["id"] for s in rest for v in s["values"]} >= {"100", "199"}
    assert sending.context.metrics.total("output_streams_over_limit_total") > 100
