"""What buffers drop is told: all of it, and not a line for each record."""

from __future__ import annotations

import asyncio
import re

import pytest

from shipper.buffers.base import DAMAGED, OVER_LIMIT, RING_OVER_LIMIT, Loss
from shipper.log import Log
from shipper.losses import TOLD_EVERY_S, Losses
from shipper.testing import ManualClock, settle

SECOND = 1_000_000_000


class Scene:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.losses = Losses(lambda output: Log(f"[{output}] "), self.clock)

    def lose(self, *records: int, reason: str = OVER_LIMIT, tag: str = "app.web", put_s: int = 1_700_000_000) -> None:
        for number, count in enumerate(records):
            self.losses.note("in.0", Loss("out.0", count, 10 * count, reason, tag, (put_s + number) * SECOND))


def test_the_first_loss_is_told_at_once_with_tag_time_and_remedy(caplog: pytest.LogCaptureFixture) -> None:
    Scene().lose(3)

    (told,) = caplog.messages
    assert told.startswith("[out.0] stored records are dropped, storage.total_limit_size is reached, output=out.0")
    assert ", input=in.0, records=3, reason=storage_limit, tag=app.web, " in told
    assert "read_from=2023-11-14T22:13:20Z, read_to=2023-11-14T22:13:20Z, remedy=" in told


async def test_what_follows_is_told_in_sums(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.lose(1, 2, 3)
    scene.lose(4, tag="app.db")
    await scene.clock.advance(TOLD_EVERY_S)
    scene.lose(5, put_s=1_700_000_060)

    first, second = caplog.messages
    assert "records=1, " in first
    assert "records=14, reason=storage_limit, tag=app.web app.db, " in second
    assert "read_from=2023-11-14T22:13:20Z, read_to=2023-11-14T22:14:20Z" in second


async def test_what_nothing_follows_is_told_too_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    telling = asyncio.ensure_future(scene.losses.run())
    await settle()
    scene.lose(1, 2)
    scene.lose(3, reason=DAMAGED)
    await scene.clock.advance(TOLD_EVERY_S / 2)
    scene.lose(4, 5, reason=DAMAGED)
    at_first = len(caplog.messages)
    await scene.clock.advance(TOLD_EVERY_S / 2)
    told = [re.findall(r"records=(\d+)", message)[0] for message in caplog.messages]
    scene.lose(6)
    await scene.clock.advance(TOLD_EVERY_S)
    telling.cancel()

    assert at_first == 2
    assert told == ["1", "3", "2", "9"]
    assert re.findall(r"records=(\d+)", caplog.messages[-1]) == ["6"]


def test_at_the_end_the_rest_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.lose(1, 2)
    scene.losses.tell_rest()
    scene.losses.tell_rest()

    assert [re.findall(r"records=(\d+)", message) for message in caplog.messages] == [["1"], ["2"]]


def test_losses_for_different_reasons_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    for reason in (OVER_LIMIT, RING_OVER_LIMIT, DAMAGED):
        scene.lose(1, reason=reason)

    assert [re.findall(r"reason=(\w+)", m) for m in caplog.messages] == [[OVER_LIMIT], [RING_OVER_LIMIT], [DAMAGED]]


def test_of_many_tags_the_first_are_told(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.lose(1)
    for number in range(20):
        scene.lose(1, tag=f"t{number}")
    scene.losses.tell_rest()

    assert "tag=t0 t1 t2 t3 t4 and 15 more" in caplog.messages[-1]
