from __future__ import annotations

import asyncio

import pytest

from shipper.buffers.base import Delivery
from shipper.errors import Rejected, RetryLater
from shipper.testing import MemoryOutput, settle

from .scene import Scene, delivering

AWAY = [RetryLater("503 not now")] * 1000


class Keeping(MemoryOutput):
    """Keeps every delivery; is overdue for as long as the test says."""

    overdue = 0.0

    async def send(self, delivery: Delivery) -> None:
        delivery.keep()

    def overdue_s(self) -> float:
        return self.overdue


# -- Fluent Bit's rule -------------------------------------------------------------------------------------------------


def test_without_a_sample_the_health_is_good() -> None:
    scene = Scene()
    scene.watch()

    assert (scene.get("/api/v1/health").status, scene.get("/api/v1/health").body) == (200, b"ok\n")


def test_the_health_of_v2_has_the_shape_of_fluent_bit() -> None:
    scene = Scene()
    scene.watch()

    assert scene.get("/api/v2/health").body == (
        b'{"status":"ok","errors":0,"retries_failed":0,"error_limit":5,"retry_failure_limit":5,"period_limit":60}'
    )


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v2/health"])
def test_without_health_check_there_are_no_health_pages_of_fluent_bit(path: str) -> None:
    scene = Scene(health_check=False)
    scene.watch()

    assert (scene.get(path).status, scene.get("/health").status) == (404, 200)


@pytest.mark.parametrize(
    ("counter", "count", "status"),
    [
        ("errors_total", 5, 200),
        ("errors_total", 6, 500),
        ("retries_failed_total", 5, 200),
        ("retries_failed_total", 6, 500),
    ],
)
async def test_more_than_the_limit_within_the_period_is_bad(counter: str, count: int, status: int) -> None:
    scene = Scene()
    scene.watch()
    await scene.pass_time(1)
    scene.output.counter(counter).add(count)
    await scene.pass_time(1)

    assert scene.get("/api/v1/health").status == status
    assert scene.get("/api/v2/health").status == status


async def test_what_happened_before_the_first_sample_never_counts() -> None:
    scene = Scene()
    scene.watch()
    scene.output.counter("errors_total").add(100)
    await scene.pass_time(2)

    assert scene.get("/api/v1/health").status == 200


async def test_errors_are_forgotten_after_the_period() -> None:
    scene = Scene(hc_period=10, hc_errors_count=0)
    scene.watch()
    await scene.pass_time(1)
    scene.output.counter("errors_total").add(1)
    await scene.pass_time(9)
    within = scene.get("/api/v1/health").status
    await scene.pass_time(1)

    assert (within, scene.get("/api/v1/health").status) == (500, 200)


async def test_a_long_period_is_kept_in_few_samples() -> None:
    scene = Scene(hc_period=6000, hc_errors_count=0)
    scene.watch()
    for _ in range(100):
        await scene.pass_time(1)
    scene.output.counter("errors_total").add(1)
    await scene.pass_time(5)
    soon = scene.get("/api/v1/health").status
    for _ in range(5800):
        scene.health.sample()
    within = scene.get("/api/v1/health").status
    for _ in range(300):
        scene.health.sample()

    assert (soon, within, scene.get("/api/v1/health").status) == (500, 500, 200)


async def test_the_limits_that_are_exceeded_are_named() -> None:
    scene = Scene(hc_period=10)
    scene.watch()
    await scene.pass_time(1)
    scene.output.counter("errors_total").add(7)
    await scene.pass_time(1)

    assert scene.get("/api/v1/health").body == b"error\noutputs: 7 errors in 10 s, more than hc_errors_count 5\n"
    assert scene.json("/api/v2/health")["reasons"] == ["outputs: 7 errors in 10 s, more than hc_errors_count 5"]


# -- progress ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("output", "why"), [("hangs", "1 deliveries without an answer"), ("fails", "503 not now")])
async def test_an_output_that_gets_nothing_through_is_bad_within_a_minute(output: str, why: str) -> None:
    gate = asyncio.Event()
    one = MemoryOutput(hang=gate) if output == "hangs" else MemoryOutput(AWAY)
    async with delivering(Scene(one)) as scene:
        scene.put("a", "b")
        await scene.pass_time(40)
        early = scene.get("/api/v1/health").status
        await scene.pass_time(15)
        late = scene.get("/api/v1/health")
        gate.set()

    assert (early, late.status) == (200, 500)
    assert late.body.startswith(b"error\noutput out.0: nothing accepted for 5")
    assert b"2 records (4 bytes) wait" in late.body
    assert why in late.body.decode()


async def test_the_health_is_good_as_soon_as_something_gets_through() -> None:
    gate = asyncio.Event()
    async with delivering(Scene(MemoryOutput(hang=gate))) as scene:
        scene.put("a")
        await scene.pass_time(60)
        before = scene.get("/api/v1/health").status
        gate.set()
        await settle()
        after = scene.get("/api/v1/health").status

    assert (before, after) == (500, 200)


async def test_an_output_that_always_has_more_to_do_is_healthy_while_it_gets_on() -> None:
    async with delivering(Scene()) as scene:
        for _ in range(60):
            scene.put("a")
            await scene.pass_time(1)
            scene.put("b")

        assert scene.get("/health").status == 200


async def test_an_output_without_work_is_healthy_however_long() -> None:
    async with delivering(Scene(MemoryOutput(AWAY))) as scene:
        await scene.pass_time(300)

        assert scene.get("/health").status == 200


async def test_a_shorter_period_tells_earlier() -> None:
    async with delivering(Scene(MemoryOutput(AWAY), hc_period=4, flush=0.5)) as scene:
        scene.put("a")
        await scene.pass_time(5)

        assert scene.json("/health")["stalled_after_sec"] == 3.5
        assert scene.get("/api/v1/health").status == 500


async def test_records_may_wait_for_company_as_long_as_flush_says() -> None:
    async with delivering(Scene(flush=120.0)) as scene:
        scene.put("a")
        await scene.pass_time(100)

        assert scene.get("/health").status == 200


async def test_what_an_output_keeps_is_bad_only_when_it_is_overdue() -> None:
    output = Keeping()
    async with delivering(Scene(output)) as scene:
        scene.put("a")
        await scene.pass_time(600)
        kept = scene.get("/api/v1/health")
        output.overdue = 60.0
        overdue = scene.get("/api/v1/health")

    assert (kept.status, overdue.status) == (200, 500)
    assert b"output out.0: nothing accepted for 60 s" in overdue.body
    assert b"what it keeps is due and does not get through" in overdue.body


async def test_an_output_whose_destination_refuses_everything_is_bad_by_its_errors() -> None:
    async with delivering(Scene(MemoryOutput([Rejected("bad")] * 1000))) as scene:
        for _ in range(10):
            scene.put("a")
            await scene.pass_time(1)

        assert b"errors in 60 s, more than hc_errors_count 5" in scene.get("/api/v1/health").body


# -- warnings ----------------------------------------------------------------------------------------------------------


async def test_a_paused_input_names_the_limit_the_output_and_the_remedy() -> None:
    async with delivering(Scene(MemoryOutput(AWAY), limit=1000)) as scene:
        scene.put("x" * 400)
        waiting = asyncio.ensure_future(scene.buffer.room(400))
        await settle()
        told = scene.json("/health")
        waiting.cancel()

    assert told["status"] == "ok"
    assert told["warnings"] == [
        "input app: paused at its limit 1000 bytes (Mem_Buf_Limit), waits for output out.0 1 records; "
        "see to that output, or raise Mem_Buf_Limit"
    ]


async def test_losses_restarts_and_unsaved_positions_are_warnings() -> None:
    scene = Scene(hc_period=10)
    scene.watch()
    await scene.pass_time(1)
    scene.output.dropped(3, 30, "storage_limit")
    scene.output.dropped(4, 40, "sampled", wanted=True)
    scene.input.dropped(2, 20, "invalid_json")
    scene.input.dropped(5, 50, "ignore_older", wanted=True)
    scene.metrics.counter("engine_restarts_total", component="app").add(2)
    scene.metrics.gauge("input_offset_persist_age_seconds", lambda: 50.0, name="app")
    await scene.pass_time(1)
    told = scene.json("/health")

    assert (told["status"], told["reasons"]) == ("ok", [])
    assert told["warnings"] == [
        "input app: 2 records lost in 10 s: invalid_json",
        "output out.0: 3 records lost in 10 s: storage_limit",
        "app: failed unexpectedly 2 times in 10 s; the log has the errors",
        "input app: positions could not be saved for 50 s; the log has the reason",
    ]


async def test_the_details_tell_every_output() -> None:
    async with delivering(Scene(MemoryOutput(AWAY))) as scene:
        scene.put("a")
        await scene.pass_time(10)
        told = scene.json("/health")["outputs"]["out.0"]

    assert (told["held_records"], told["held_bytes"], told["last_error"]) == (1, 2, "503 not now")
    assert told["stalled_sec"] >= 9
