"""What counts against `retry_limit`: only what the data or the bucket itself are to blame for."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.retry import Backoff

from .making import Running, batch_of, options_of, running
from .server import Fault, SmallS3
from .test_faults import wide
from .test_multipart import numbers

pytestmark = pytest.mark.usefixtures("aws_keys")

PUT = "total_file_size 1M\nupload_timeout 0.05\nretry_exhausted_action delete\n"


def error(status: int, code: str) -> Fault:
    return Fault(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())


def dropped(one: Running) -> dict[str, int]:
    return one.context.metrics.by_label("output_dropped_records_total", "reason", name="s3.0")


def is_held(one: Running) -> bool:
    """Whether the records are still there, in one place or another."""
    return one.dispatcher.held()[0] == 1 and dropped(one) == {}


@pytest.mark.parametrize("limit", ["3", "no_retries"])
@pytest.mark.parametrize(
    "fault",
    [
        error(403, "AccessDenied"),
        error(403, "InvalidAccessKeyId"),
        error(403, "RequestTimeTooSkewed"),
        error(403, "SomethingNew"),
        error(400, "ExpiredToken"),
        error(400, "InvalidToken"),
    ],
    ids=lambda fault: fault.body.decode().split(">")[2].partition("<")[0],
)
async def test_a_denial_uses_up_no_retries_and_is_looked_at_each_minute(
    s3: SmallS3, tmp_path: Path, fault: Fault, limit: str
) -> None:
    s3.fail("PutObject", *[fault] * 8)
    async with running(options_of(s3.url, tmp_path, f"{PUT}retry_limit {limit}\n")) as one:
        one.retry_after(0.001)
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("upload_failures_total") == 7)
        assert is_held(one)
        one.retry_after(2000)
        await one.until(lambda: one.count("upload_failures_total") == 8)
        assert 0 < pause_of(one) <= 60
        one.output.flush()
        await one.until(lambda: one.count("proc_records_total") == 1)

    assert numbers(s3) == [1]


def pause_of(one: Running) -> float:
    """Seconds from now to the next attempt."""
    assert one.output._uploads is not None
    [upload] = one.output._uploads._waiting
    return upload.retry_at - one.clock.monotonic()


async def test_missing_credentials_use_up_no_retries_and_are_looked_for_each_minute(
    s3: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with running(options_of(s3.url, tmp_path, f"{PUT}retry_limit 3\n")) as one:
        one.retry_after(0.001)
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("upload_failures_total") >= 6)
        assert is_held(one)
        one.retry_after(2000)
        seen = one.count("upload_failures_total")
        await one.until(lambda: one.count("upload_failures_total") > seen + 1 or pause_of(one) > 1)
        assert pause_of(one) <= 60
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        one.output.flush()
        await one.until(lambda: one.count("proc_records_total") == 1)

    assert numbers(s3) == [1]


async def test_a_bucket_that_asks_for_a_slower_pace_uses_up_no_retries_while_it_takes_something(
    s3: SmallS3, tmp_path: Path
) -> None:
    healthy, answer_slow = s3.answer, [True]

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> object:
        if "/slow/" in path and answer_slow:
            return error(503, "SlowDown"), None
        return healthy(method, path, headers, body)

    s3.answer = answer  # type: ignore[method-assign, assignment]
    lines = f"{PUT}retry_limit 1\ns3_key_format /$TAG/o\n"
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        one.retry_after(3600)
        one.put(batch_of({"n": 0}, tag="slow"))
        uploads = one.output._uploads
        assert uploads is not None
        for number in range(1, 6):
            await one.until(lambda n=number: one.count("upload_failures_total") == n)
            one.put(batch_of({"n": number}, tag="quick"))
            await one.until(lambda n=number: one.count("proc_records_total") == n)
            uploads._waiting[0].retry_at = 0.0
            uploads.wake.set()
        await one.until(lambda: one.count("upload_failures_total") == 6)
        assert dropped(one) == {}
        answer_slow.clear()
        one.output.flush()
        await one.until(lambda: one.count("proc_records_total") == 6)

    assert numbers(s3) == list(range(6))


async def test_a_bucket_that_takes_nothing_at_all_uses_them_up(s3: SmallS3, tmp_path: Path) -> None:
    s3.fail("PutObject", *[error(503, "SlowDown")] * 3)
    async with running(options_of(s3.url, tmp_path, f"{PUT}retry_limit 2\n")) as one:
        one.retry_after(0.001)
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.dispatcher.held() == (0, 0))

        assert dropped(one) == {"retries_exhausted": 1}


class _AtOnce(Backoff):
    def __init__(self) -> None:
        super().__init__(1, 1)

    def wait(self, failures: int, wish: float = 0.0) -> float:
        return 0.01


def deliver_again_at_once(one: Running) -> None:
    one.dispatcher._backoff = one.dispatcher._circuit._backoff = _AtOnce()


async def test_a_full_store_uses_up_no_retries_of_deliveries(s3: SmallS3, tmp_path: Path) -> None:
    """The limit is about attempts to upload; and what waits for room tells why there is none."""
    s3.fail("PutObject", *[error(403, "AccessDenied")] * 10_000)
    lines = "total_file_size 50M\nupload_timeout 1m\nuse_put_object on\nstore_dir_limit_size 500K\nretry_limit 2\n"
    async with running(options_of(s3.url, tmp_path, lines)) as one:
        one.retry_after(0.01)
        deliver_again_at_once(one)
        for number in range(4):
            one.put(wide(number))
        await one.until(lambda: one.count("retries_total") >= 10)
        await one.until(lambda: "s3:PutObject on bucket b" in one.dispatcher.statistics().last_error)
        assert (one.dispatcher.held()[0], dropped(one)) == (4, {})
        s3.heal()
        await one.drain()

    assert numbers(s3) == list(range(4))


async def test_a_store_that_cannot_be_written_uses_up_no_retries_of_deliveries(s3: SmallS3, tmp_path: Path) -> None:
    async with running(options_of(s3.url, tmp_path, f"{PUT}retry_limit 2\n")) as one:
        deliver_again_at_once(one)
        one.put(batch_of({"n": 0}))
        await one.until(lambda: one.count("proc_records_total") == 1)
        folder = one.output._store.folder
        folder.rename(tmp_path / "away")
        one.put(batch_of({"n": 1}))
        await one.until(lambda: one.count("retries_total") >= 5)
        assert is_held(one)
        (tmp_path / "away").rename(folder)
        await one.until(lambda: one.count("proc_records_total") == 2)

    assert numbers(s3) == [0, 1]
