"""Writes the benchmark corpora: container logs in CRI format, the same bytes on every machine.

two       two busy containers: JSON lines of about 214 bytes (256 MiB) and plain text of about 163 bytes (128 MiB). One
          message in a hundred is cut into a P and an F line. 2,053,765 records at scale 1.
hundred   a hundred containers of 20,000 JSON lines of about 160 bytes. 2,000,000 records at scale 1.
spread    the same lines in any number of files, to see what the number of files costs.

A corpus is kept in a cache folder and written only once. Every draw from a generator of random numbers is part of the
format: another order of draws gives other bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["two", "hundred"]

_REPOSITORY = Path(__file__).parents[1]
_ABOUT = "corpus.json"
_START = datetime(2026, 11, 20, 10)
# fmt: off
_WORDS = [
    "connection", "request", "handled", "user", "order", "payment", "shipped", "timeout", "retry", "cache",
    "hit", "miss", "query", "select", "update", "insert", "kafka", "partition", "consumer", "offset", "commit",
    "http", "GET", "POST", "/api/v1/orders", "/healthz", "status", "200", "404", "500", "latency_ms", "trace",
    "span",
]
# fmt: on
_LEVELS = ["info", "warn", "error", "debug"]
_STATUSES = [200, 200, 200, 404, 500]
_OUTCOMES = ["request handled", "cache miss", "order shipped", "payment ok"]


class Corpus(msgspec.Struct, frozen=True):
    """A written corpus: its folder, its records after joining partial lines, and its bytes."""

    folder: Path
    records: int
    bytes: int

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))


def cache_folder() -> Path:
    return Path(os.environ.get("SHIPPER_BENCH_CORPUS") or "/tmp/shipper-bench-corpus")


def cached(kind: Kind, scale: float) -> Corpus:
    """The corpus from the cache; written first if it is not there."""
    return _cached(f"{kind}-{scale:g}", "--kind", kind, "--scale", str(scale))


def cached_spread(files: int, records: int) -> Corpus:
    """A corpus of about so many records, the same number in each of so many files."""
    each = max(1, records // files)
    return _cached(f"spread-{files}x{each}", "--files", str(files), "--each", str(each))


def _cached(name: str, *options: str) -> Corpus:
    folder = cache_folder() / name
    if not (folder / _ABOUT).exists():
        cache_folder().mkdir(parents=True, exist_ok=True)
        # Written beside its place and renamed, so that an interrupted run leaves no half corpus behind; and by another
        # process, because what is measured begins its peak memory at the size of its parent.
        unfinished = tempfile.mkdtemp(dir=cache_folder())
        command = [sys.executable, "-m", "bench.corpus", unfinished, *options]
        subprocess.run(command, cwd=_REPOSITORY, stdout=subprocess.DEVNULL, check=True)
        shutil.rmtree(folder, ignore_errors=True)
        Path(unfinished).rename(folder)
    return Corpus(folder, **msgspec.json.decode((folder / _ABOUT).read_bytes(), type=dict[str, int]))


def write(folder: Path, kind: Kind, scale: float) -> Corpus:
    """Write a corpus of this kind into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return _write_two(folder, scale) if kind == "two" else write_spread(folder, 100, int(20_000 * scale))


def _write_two(folder: Path, scale: float) -> Corpus:
    web = f"web-7d4b9c-abcde_shop_web-{'a' * 64}.log"
    api = f"api-5f6c7d-fghij_shop_api-{'b' * 64}.log"
    plan: list[tuple[str, int, Callable[[random.Random], str]]] = [
        (web, 256 << 20, _json_message),
        (api, 128 << 20, _plain_message),
    ]
    records = size = 0
    for seed, (name, full_size, message) in enumerate(plan):
        wanted, written = int(full_size * scale), 0
        lines = _busy_container(random.Random(seed), message)
        with (folder / name).open("w") as file:
            while written < wanted:
                text = next(lines)
                file.write(text)
                written += len(text)
                records += 1
        size += written
    return Corpus(folder, records, size)


def _busy_container(rng: random.Random, message: Callable[[random.Random], str]) -> Iterator[str]:
    """The lines of one record after another: one line, or a P and an F line."""
    now_ns = 0
    while True:
        now_ns += rng.randint(1000, 900_000)
        head = f"{_stamp(now_ns)} {'stdout' if rng.random() < 0.8 else 'stderr'}"
        text = message(rng)
        if rng.random() < 0.01:
            middle = len(text) // 2
            yield f"{head} P {text[:middle]}\n{head} F {text[middle:]}\n"
        else:
            yield f"{head} F {text}\n"


def _json_message(rng: random.Random) -> str:
    return json.dumps(
        {
            "level": rng.choice(_LEVELS),
            "msg": " ".join(rng.choices(_WORDS, k=rng.randint(4, 14))),
            "trace_id": f"{rng.getrandbits(128):032x}",
            "status": rng.choice(_STATUSES),
            "latency_ms": round(rng.random() * 300, 3),
        }
    )


def _plain_message(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(6, 30)))


def write_spread(folder: Path, files: int, each: int) -> Corpus:
    """Write so many lines to each of so many files, a container to each file."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 0
    for index in range(files):
        rng = random.Random(index)
        text = "".join(_numbered_line(rng, number) for number in range(each))
        container_id = f"{index:02x}".ljust(64, "0")
        (folder / f"gen{index:03d}-7d4b9c-x{index:04d}_load_app-{container_id}.log").write_text(text)
        size += len(text)
    return Corpus(folder, files * each, size)


def _numbered_line(rng: random.Random, number: int) -> str:
    message = json.dumps(
        {
            "seq": number,
            "level": "info",
            "msg": rng.choice(_OUTCOMES),
            "trace": f"{rng.getrandbits(64):016x}",
            "path": f"/api/v1/orders/{rng.randrange(10**6)}",
            "ms": rng.randrange(500),
        }
    )
    return f"{_stamp(number * 200_000 + rng.randrange(100_000))} stdout F {message}\n"


def _stamp(offset_ns: int) -> str:
    seconds, nanoseconds = divmod(offset_ns, 1_000_000_000)
    return f"{(_START + timedelta(seconds=seconds)).isoformat()}.{nanoseconds:09d}Z"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a benchmark corpus.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=["two", "hundred"], default="two")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--files", type=int, help="number of files of another kind, all with the same number of lines")
    parser.add_argument("--each", type=int, default=1, help="lines in each of these")
    options = parser.parse_args()
    if options.files:
        corpus = write_spread(options.folder, options.files, options.each)
    else:
        corpus = write(options.folder, options.kind, options.scale)
    (options.folder / _ABOUT).write_bytes(msgspec.json.encode({"records": corpus.records, "bytes": corpus.bytes}))
    print(f"{corpus.records} records, {corpus.bytes} bytes")


if __name__ == "__main__":
    main()
