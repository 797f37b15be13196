"""CloudWatch Logs on this machine: a moto server in a process of its own, and what can be read back from it."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types
import msgspec
from botocore.exceptions import ClientError

GROUP = "quickstart"
_OVERLAP_MS = 2000


class Progress(msgspec.Struct, frozen=True):
    """How many different lines have arrived, and how many are missing in front of one that has."""

    delivered: int
    gaps: int


class LocalCloud:
    """The server and a client to it; `start` waits until it answers."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = boto3.client(
            "logs",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="quickstart",
            aws_secret_access_key="quickstart",
        )
        # What `progress` has seen: the numbers of the lines of each container's stdout and stderr, and the newest time
        # of each log stream.
        self._seen: dict[str, set[int]] = {}
        self._newest_ms: dict[str, int] = {}

    def start(self) -> None:
        """Start the server; raises `RuntimeError` if it does not answer within 30 seconds."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        limit = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > limit or self._process.poll() is not None:
                raise RuntimeError("the local CloudWatch Logs did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def progress(self) -> Progress:
        """What has arrived up to now; reads only what came since the last look."""
        for stream in self._streams():
            since_ms = self._newest_ms.get(stream, 0)
            # A joined message has the time of its first part, so it may lie a little before what is known already.
            for event in self._events(stream, since_ms - _OVERLAP_MS):
                since_ms = max(since_ms, event["timestamp"])
                source, _, number = event["message"].split(" ", 1)[0].rpartition(":")
                self._seen.setdefault(source, set()).add(int(number))
            self._newest_ms[stream] = since_ms
        delivered = sum(map(len, self._seen.values()))
        return Progress(delivered, sum(max(numbers) + 1 for numbers in self._seen.values()) - delivered)

    def read_back(self) -> Iterator[tuple[str, str]]:
        """Every event that was delivered, as (log stream, message)."""
        for stream in self._streams():
            for event in self._events(stream, 0):
                yield stream, event["message"]

    def _streams(self) -> list[str]:
        try:
            pages = self._client.get_paginator("describe_log_streams").paginate(logGroupName=GROUP)
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []  # nothing has been delivered yet
            raise

    def _events(self, stream: str, since_ms: int) -> Iterator[dict[str, Any]]:
        """The events of a stream from a time on, page by page; the same token twice marks the end."""
        question = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True, "limit": 10_000}
        question["startTime"] = max(0, since_ms)
        while True:
            page = self._client.get_log_events(**question)
            yield from page["events"]
            if page["nextForwardToken"] == question.get("nextToken"):
                return
            question["nextToken"] = page["nextForwardToken"]

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=1).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True
