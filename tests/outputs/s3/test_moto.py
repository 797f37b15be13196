"""Delivery to a real emulator, read back with a client that is not ours."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session

from shipper.outputs.s3.options import S3Options
from tests.written_options import options_from

from .making import Running, batch_of, running
from .test_multipart import large

pytestmark = pytest.mark.usefixtures("aws_keys")


@pytest.fixture
def bucket() -> str:
    return f"logs-{uuid.uuid4().hex}"


def client(url: str) -> Any:
    return get_session().create_client("s3", region_name="us-east-1", endpoint_url=url)


def to_moto(url: str, bucket: str, folder: Path, lines: str) -> S3Options:
    text = f"bucket {bucket}\nendpoint {url}\nstore_dir {folder}\n{lines}"
    return options_from(S3Options, text, "output")


async def stored(url: str, bucket: str) -> dict[str, bytes]:
    async with client(url) as api:
        found = (await api.list_objects_v2(Bucket=bucket)).get("Contents", [])
        keys = [one["Key"] for one in found]
        return {key: await (await api.get_object(Bucket=bucket, Key=key))["Body"].read() for key in keys}


async def made(url: str, bucket: str) -> None:
    async with client(url) as api:
        await api.create_bucket(Bucket=bucket)


async def test_an_object_is_put_under_a_key_with_unusual_characters(moto_url: str, bucket: str, tmp_path: Path) -> None:
    await made(moto_url, bucket)
    options = to_moto(moto_url, bucket, tmp_path, "total_file_size 1M\ns3_key_format /a b/é+$TAG\nstatic_file_path on")
    for number in range(2):
        async with running(options) as one:
            one.put(batch_of({"n": number}, tag="t?x=1&y#"))
            await one.drain()

    found = await stored(moto_url, bucket)
    assert len(found) == 2
    assert found["a b/é+t?x=1&y#"] == b'{"date":"2023-11-14T22:13:20.001000Z","n":0}\n'


async def test_a_multipart_upload_is_completed(moto_url: str, bucket: str, tmp_path: Path) -> None:
    await made(moto_url, bucket)
    options = to_moto(moto_url, bucket, tmp_path, "total_file_size 20M\ns3_key_format /o\nstatic_file_path on")
    async with running(options) as one:
        for number in range(4):
            one.put(large(number))
            await one.until(lambda: one.buffer.statistics().records == 0)
        await one.drain()

    found = await stored(moto_url, bucket)
    assert list(found) == ["o"]
    assert found["o"].count(b"\n") == 4
    async with client(moto_url) as api:
        assert "Uploads" not in await api.list_multipart_uploads(Bucket=bucket)


async def test_a_bucket_that_is_made_later_gets_everything(moto_url: str, bucket: str, tmp_path: Path) -> None:
    one = Running(to_moto(moto_url, bucket, tmp_path, "total_file_size 1M\nupload_timeout 0.05"))
    await one.start()
    one.retry_after(0.05)
    one.put(batch_of({"n": 1}))
    await one.until(lambda: one.count("upload_failures_total") >= 2)
    await made(moto_url, bucket)
    await one.until(lambda: one.count("proc_records_total") == 1)
    await one.drain()

    assert len(await stored(moto_url, bucket)) == 1
