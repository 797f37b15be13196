"""What is told by minutes and days: how long records are looked out for, and how long a bucket may refuse them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.testing import ManualClock

from .making import Running, batch_of, lines_from, options_of, running, working
from .server import Fault, SmallS3
from .test_multipart import numbers

pytestmark = pytest.mark.usefixtures("aws_keys")

SLOWLY = "total_file_size 1M\nupload_timeout 1h\n"
DENIED = Fault(403, b"<Error><Code>AccessDenied</Code></Error>")
HOUR_S = 3600.0


def lingering(one: Running) -> int:
    """How many spools are in S3 and still on disk."""
    assert one.output._uploads is not None
    return len(one.output._uploads._lingering)


async def test_what_is_in_s3_is_known_after_a_kill_while_an_earlier_delivery_is_owed(
    s3: SmallS3, tmp_path: Path
) -> None:
    """The input could not save that it had arrived, so it reads it again."""
    options, clock = options_of(s3.url, tmp_path, SLOWLY), ManualClock()
    early = batch_of({"n": 1}, tag="slow", origin=lines_from(0, 1))
    late = batch_of({"n": 2, "pad": "x" * 1_100_000}, tag="quick", origin=lines_from(1, 2))
    async with working(options, clock) as one:
        await one.send(early)
        await one.send(late)
        await one.until(lambda: lingering(one) == 1)
        await clock.advance(60)
        in_bucket = numbers(s3)
    async with running(options) as one:
        one.put(early, late)
        await one.drain()

    assert in_bucket == [2]
    assert numbers(s3) == [1, 2]


async def test_what_does_not_come_again_within_ten_minutes_leaves_the_disk(s3: SmallS3, tmp_path: Path) -> None:
    options, clock = options_of(s3.url, tmp_path, SLOWLY), ManualClock()
    async with working(options, clock) as one:
        await one.send(batch_of({"n": 1}, origin=lines_from(0, 1)))
    async with working(options, clock) as one:
        await one.until(lambda: lingering(one) == 1)
        await clock.advance(599)
        before = len(list(tmp_path.rglob("*.data")))
        await clock.advance(10)
        after = len(list(tmp_path.rglob("*.data")))

    assert (before, after) == (1, 0)
    assert numbers(s3) == [1]


@pytest.mark.parametrize(("between", "refused"), [(DENIED, {"refused": [1, 100]}), (Fault(), {})])
async def test_an_object_is_given_up_when_a_day_has_brought_nothing_but_refusals(
    s3: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: Fault, refused: dict[str, list[int]]
) -> None:
    clock, shown = ManualClock(), DENIED
    monkeypatch.setattr(s3, "answer", lambda *call: (shown, None))
    lines = "total_file_size 1M\nupload_timeout 1s\nretry_exhausted_action delete\n"
    async with working(options_of(s3.url, tmp_path, lines), clock) as one:
        delivery = await one.send(batch_of({"n": 1}))
        for shown, hours in ((DENIED, 2), (between, 24), (DENIED, 2)):  # noqa: B007  # the server shows it
            for _ in range(hours):
                seen = one.count("upload_failures_total")
                await clock.advance(HOUR_S)
                await one.until(lambda n=seen: delivery.refused or one.count("upload_failures_total") > n)

    assert delivery.refused == refused
