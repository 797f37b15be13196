"""Delivery to a real emulator, read back with a client that is not ours."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest
from aiobotocore.session import get_session

from shipper.buffers.base import Delivery
from shipper.errors import RetryLater

from .making import batch_of, output_to

pytestmark = pytest.mark.usefixtures("aws_keys")


@pytest.fixture
def group() -> str:
    return f"/test/{uuid.uuid4().hex}"


async def stored(url: str, group: str, stream: str) -> list[dict[str, Any]]:
    async with get_session().create_client("logs", region_name="us-east-1", endpoint_url=url) as client:
        answer = await client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
        return [{"timestamp": e["timestamp"], "message": e["message"]} for e in answer["events"]]


@pytest.mark.parametrize("compress", ["none", "gzip"])
async def test_records_arrive_in_a_group_and_stream_made_for_them(moto_url: str, group: str, compress: str) -> None:
    now_ns = time.time_ns()
    output = output_to(
        moto_url,
        log_group_name=group,
        log_stream_prefix="p-",
        auto_create_group=True,
        log_retention_days=14,
        compress=compress,
    )
    await output.open()
    delivery = Delivery("lane", [batch_of({"log": 'é "q" \\'}, {"n": 1}, time_ns=now_ns)])

    work = asyncio.ensure_future(output.work())
    await output.send(delivery)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await output.close()

    assert delivery.accepted == 2
    assert await stored(moto_url, group, "p-app.web") == [
        {"timestamp": now_ns // 1_000_000, "message": r'{"log":"\u00e9 \"q\" \\"}'},
        {"timestamp": now_ns // 1_000_000 + 1, "message": '{"n":1}'},
    ]
    async with get_session().create_client("logs", region_name="us-east-1", endpoint_url=moto_url) as client:
        found = (await client.describe_log_groups(logGroupNamePrefix=group))["logGroups"]
    assert found[0]["retentionInDays"] == 14


async def test_deliveries_side_by_side_reach_their_streams(moto_url: str, group: str) -> None:
    now_ns = time.time_ns()
    output = output_to(
        moto_url, log_group_name=group, log_stream_template="$pod", log_key="log", auto_create_group=True
    )
    await output.open()
    deliveries = [
        Delivery(n, [batch_of(*({"log": f"{n}-{i}", "pod": f"pod{i % 3}"} for i in range(30)), time_ns=now_ns)])
        for n in range(4)
    ]

    await asyncio.gather(*(output.send(d) for d in deliveries))
    await output.close()

    assert sum(d.accepted for d in deliveries) == 120
    for pod in range(3):
        messages = [e["message"] for e in await stored(moto_url, group, f"pod{pod}")]
        assert sorted(messages) == sorted(f"{n}-{i}" for n in range(4) for i in range(30) if i % 3 == pod)


async def test_missing_group_is_not_made_unasked(moto_url: str, group: str) -> None:
    output = output_to(moto_url, log_group_name=group)
    await output.open()
    delivery = Delivery("lane", [batch_of({"log": "x"}, time_ns=time.time_ns())])

    with pytest.raises(RetryLater, match="not found and auto_create_group is off"):
        await output.send(delivery)
    await output.close()

    assert delivery.accepted == 0
