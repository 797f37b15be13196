"""The corpora are the same bytes everywhere, so that figures can be compared."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bench.corpus import Kind, cached, cached_spread, write
from bench.yardstick import measure


@pytest.mark.parametrize(
    ("kind", "scale", "records", "digest"),
    [
        ("two", 0.001, 2048, "751f0684e5d1bedfc5926c33413288da3ba3ab38eeeaa0b58e4f4cf6f5100503"),
        ("hundred", 0.001, 2000, "1ddba1d2bcacdb09e18d20588fe97858794455e7def38ef34bd22b3c08f24025"),
    ],
)
def test_a_corpus_has_always_the_same_bytes(
    tmp_path: Path, kind: Kind, scale: float, records: int, digest: str
) -> None:
    corpus = write(tmp_path, kind, scale)

    assert corpus.records == records
    assert hashlib.sha256(b"".join(f.read_bytes() for f in corpus.files)).hexdigest() == digest
    assert corpus.bytes == sum(f.stat().st_size for f in corpus.files)


def test_a_cached_corpus_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPPER_BENCH_CORPUS", str(tmp_path / "cache"))
    first = cached("hundred", 0.0005)
    written = first.files[0].stat().st_mtime_ns
    again = cached("hundred", 0.0005)

    assert again == first
    assert again.files[0].stat().st_mtime_ns == written
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["hundred-0.0005"]


@pytest.mark.parametrize(("files", "records", "expected"), [(1, 50, 50), (7, 50, 49), (20, 10, 20)])
def test_the_same_records_can_be_spread_over_any_number_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, records: int, expected: int
) -> None:
    monkeypatch.setenv("SHIPPER_BENCH_CORPUS", str(tmp_path / "cache"))

    corpus = cached_spread(files, records)

    assert (len(corpus.files), corpus.records) == (files, expected)
    assert sum(len(f.read_text().splitlines()) for f in corpus.files) == expected


def test_the_yardstick_counts_joined_records(tmp_path: Path) -> None:
    corpus = write(tmp_path, "two", 0.001)

    each_us, records = measure(corpus.files)

    assert records == corpus.records
    assert each_us > 0
