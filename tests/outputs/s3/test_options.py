from __future__ import annotations

from pathlib import Path

import pytest

from shipper.cli import main
from shipper.errors import ConfigError
from shipper.outputs.s3.options import S3Options
from tests.written_options import options_from

REPOSITORY = Path(__file__).parents[3]


def read(lines: str) -> S3Options:
    return options_from(S3Options, f"bucket logs\n{lines}" if "bucket" not in lines else lines, "output")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("region r", "bucket"),
        ("bucket ../x", "not the name of a bucket"),
        ("s3_key_format logs", "must start with a '/'"),
        ("format xml", "'xml' is not possible"),
        ("compression lz4", "'lz4' is not possible"),
        ("retry_exhausted_action keep", "retry_exhausted_action"),
        ("json_date_format never", "json_date_format"),
        ("total_file_size 999K", "the least is 1000000"),
        ("total_file_size 51G", "the most is 50000000000"),
        ("use_put_object on\ntotal_file_size 2G", "put in one go is 1000000000"),
        ("upload_chunk_size 5M", "at least 5242880"),
        ("upload_chunk_size 60M", "at most 50000000"),
        ("total_file_size 20M\nupload_chunk_size 30M", "cannot be larger than total_file_size"),
        ("total_file_size 20M\nupload_chunk_size 12M", "at least twice upload_chunk_size"),
        ("format parquet\nlog_key log", "log_key is not possible with the format parquet"),
        ("format otlp_json\nlog_key log", "log_key is not possible with the format otlp_json"),
        ("format otlp_json_pretty\ncompression parquet", "parquet is not possible with the format otlp_json_pretty"),
        ("format arrow\ncompression gzip", "arrow cannot hold gzip"),
        ("endpoint ftp://x", "unknown scheme"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_from(S3Options, lines if lines.startswith(("region", "bucket")) else f"bucket b\n{lines}", "output")


@pytest.mark.parametrize(
    ("lines", "url"),
    [
        ("", "https://logs.s3.us-east-1.amazonaws.com"),
        ("bucket a.b\nregion cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn/a.b"),
        ("region us-isob-east-1", "https://logs.s3.us-isob-east-1.sc2s.sgov.gov"),
        ("endpoint http://minio:9000", "http://minio:9000/logs"),
        ("endpoint minio", "https://minio/logs"),
        ("endpoint minio\nport 9000\ntls off", "http://minio:9000/logs"),
    ],
)
def test_the_url_of_the_bucket(lines: str, url: str) -> None:
    assert read(lines).base_url == url


def test_the_environment_may_say_where_the_bucket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio:9000")

    assert read("").base_url == "http://minio:9000/logs"
    assert read("endpoint http://other").base_url == "http://other/logs"


@pytest.mark.parametrize(
    ("lines", "puts_whole"),
    [
        ("", False),
        ("total_file_size 10M", True),
        ("total_file_size 10485760", False),
        ("use_put_object on", True),
        ("format parquet", True),
        ("compression arrow", True),
    ],
)
def test_small_and_columnar_objects_are_put_in_one_go(lines: str, puts_whole: bool) -> None:
    assert read(lines).puts_whole is puts_whole


def test_the_old_way_to_ask_for_parquet_means_the_same() -> None:
    old, new = read("compression parquet"), read("format parquet\ncompression zstd")

    assert (old.columnar, old.codec) == ("parquet", "none")
    assert (new.columnar, new.codec) == ("parquet", "zstd")


def test_large_parts_need_compression() -> None:
    lines = "total_file_size 40G\nupload_chunk_size 2G"

    assert read(f"{lines}\ncompression gzip").upload_chunk_size == 2_000_000_000
    with pytest.raises(ConfigError):
        read(lines)


def test_the_example_can_be_loaded_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--dry-run", "-c", str(REPOSITORY / "config" / "s3.conf")])

    told = capsys.readouterr()
    assert code == 0, told.err
    assert "warn" not in told.out + told.err
