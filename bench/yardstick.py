"""The yardstick: CPU time of one fixed, simple pipeline on this machine.

Absolute times differ between machines and from hour to hour; multiples of the yardstick, taken in the same run on the
same files, hardly do. So a shipper's CPU time per record is quoted in yardsticks.

The pipeline reads CRI files in blocks, splits each line, joins partial lines, encodes each record with a map of
Kubernetes metadata to JSON and wraps it as an event of a put request. Nothing is sent. Its work must never change, or
figures of different dates could not be compared any more; in particular it must not be made faster.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec

_BLOCK = 512 << 10
_encode = msgspec.json.Encoder().encode
_METADATA = {
    "pod_name": "web-7d4b9c-abcde",
    "namespace_name": "shop",
    "pod_id": "8e6ebccc-2136-4c79-80e4-1d023677a66a",
    "host": "ip-192-168-71-180.eu-west-1.compute.internal",
    "pod_ip": "192.168.1.5",
    "container_name": "web",
    "docker_id": "a" * 64,
    "container_hash": "registry.example/shop/web@sha256:" + "c" * 64,
    "container_image": "registry.example/shop/web:1.2.3",
}


class _Event(msgspec.Struct, gc=False):
    timestamp: int
    message: str


def measure(files: Sequence[Path]) -> tuple[float, int]:
    """Microseconds of CPU per record, and the number of records."""
    begin = time.process_time()
    records = sum(_ship(file) for file in files)
    return (time.process_time() - begin) / records * 1e6, records


def _ship(file: Path) -> int:
    metadata = msgspec.Raw(_encode(_METADATA))
    partial: dict[str, str] = {}
    records = 0
    for block in _blocks(file):
        events = []
        for line in block.decode("utf-8", "replace").split("\n"):
            if not line:
                continue
            when, stream, flag, log = line.split(" ", 3)
            if flag == "P":
                partial[stream] = partial.get(stream, "") + log
                continue
            if partial and (head := partial.pop(stream, None)):
                log = head + log
            record = {"time": when, "stream": stream, "_p": flag, "log": log, "kubernetes": metadata}
            events.append(_Event(_epoch_ms(when[:19]) + int(when[20:23]), _encode(record).decode()))
        records += len(events)
        _encode({"logGroupName": "g", "logStreamName": "s", "logEvents": events})
    return records


def _blocks(file: Path) -> Iterator[bytes]:
    """The file in blocks that end at the end of a line."""
    offset = 0
    fd = os.open(file, os.O_RDONLY)
    try:
        while block := os.pread(fd, _BLOCK, offset):
            block = block[: block.rfind(b"\n") + 1]
            offset += len(block)
            yield block
    finally:
        os.close(fd)


@cache
def _epoch_ms(second: str) -> int:
    return int(datetime.strptime(second, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the yardstick on CRI files.")
    parser.add_argument("files", nargs="+", type=Path)
    each_us, records = measure(parser.parse_args().files)
    print(f"yardstick {each_us:.3f} us/record, {records} records")


if __name__ == "__main__":
    main()
