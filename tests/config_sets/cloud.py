"""What has arrived in the emulators of CloudWatch Logs and S3."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import boto3  # type: ignore[import-untyped]  # it has no stubs

PATIENCE_S = 40.0
_REGION = "us-east-1"

T = TypeVar("T")


def until(read: Callable[[], T], is_enough: Callable[[T], bool], tell: Callable[[], str]) -> T:
    """Read again and again until it is enough; after a while, fail with what was read and what `tell` says."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_enough(found := read()):
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain, there is {found!r}\n{tell()}")
        time.sleep(0.1)  # another process: there is nothing to wait on
    return found


def client(service: str, url: str) -> Any:
    """A client of the emulator; credentials come from the environment."""
    return boto3.client(service, endpoint_url=url, region_name=_REGION)


def messages(url: str, group_prefix: str) -> dict[tuple[str, str], list[str]]:
    """All messages by group and stream, in the order of their times."""
    return {place: [text for _, text in found] for place, found in events(url, group_prefix).items()}


def events(url: str, group_prefix: str) -> dict[tuple[str, str], list[tuple[int, str]]]:
    """As `messages`, each with its time in milliseconds."""
    logs = client("logs", url)
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for group in logs.describe_log_groups(logGroupNamePrefix=group_prefix)["logGroups"]:
        name = group["logGroupName"]
        for stream in logs.describe_log_streams(logGroupName=name)["logStreams"]:
            place = {"logGroupName": name, "logStreamName": stream["logStreamName"]}
            read = logs.get_log_events(**place, startFromHead=True)["events"]
            found[name, stream["logStreamName"]] = [(event["timestamp"], event["message"]) for event in read]
    return found


def objects(url: str, bucket: str) -> dict[str, str]:
    """All objects of a bucket by their keys."""
    s3 = client("s3", url)
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}
