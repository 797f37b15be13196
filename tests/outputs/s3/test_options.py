from __future__ import annotations

from pathlib import Path

import pytest

from shipper.cli import main
from shipper.config.model import Property, Section
from shipper.config.options import read_options
from shipper.errors import ConfigError, Origin, Problem
from shipper.outputs.s3.options import S3Options
from tests.written_options import options_from

from .making import batch_of, options_of, running
from .server import SmallS3

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


BLOB_OPTIONS = (
    "blob_database_file", "part_size", "file_delivery_attempt_limit", "part_delivery_attempt_limit",
    "upload_parts_timeout", "upload_part_freshness_limit", "authorization_endpoint_url",
    "authorization_endpoint_username", "authorization_endpoint_password", "authorization_endpoint_bearer_token",
)  # fmt: skip


def read_with_remarks(text: str) -> tuple[S3Options | None, list[str], list[str]]:
    """The options as the configuration writes them, the problems found, and what is remarked."""
    origin, problems, remarks = Origin("a.conf", 1), list[Problem](), list[str]()
    pairs = [line.split(" ", 1) for line in text.splitlines()]
    section = Section("output", origin, [Property(key, value, origin) for key, value in pairs])
    return read_options(S3Options, section, "s3", problems, remarks.append), [p.message for p in problems], remarks


@pytest.mark.parametrize("name", BLOB_OPTIONS)
def test_options_for_inputs_of_whole_files_are_accepted_and_told_to_have_no_effect(name: str) -> None:
    found, problems, remarks = read_with_remarks(f"bucket logs\n{name} 6")

    assert problems == []
    assert found is not None
    assert found.upload_chunk_size == 5_242_880
    [remark] = remarks
    assert f"'{name}' has no effect: it is for inputs of whole files" in remark


def test_nobody_is_told_of_options_that_were_not_given() -> None:
    found, _, remarks = read_with_remarks("bucket logs\nupload_chunk_size 6M")

    assert remarks == []
    assert found is not None
    assert found.remarks() == []
    assert found.upload_chunk_size == 6_000_000


@pytest.mark.parametrize(
    ("lines", "told"),
    [("format json", "the same as json_lines"), ("storage.total_limit_size 1G", "use store_dir_limit_size")],
)
async def test_what_may_be_meant_otherwise_is_told_at_the_start(
    lines: str, told: str, tmp_path: Path, aws_keys: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "shipper"):
        async with running(options_of("http://127.0.0.1:1", tmp_path, f"{lines}\n")):
            pass

    assert [told in record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [True]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ((), "aws-fluent-bit-plugin"),
        (("ECS_CONTAINER_METADATA_URI_V4",), "aws-fluent-bit-plugin-ecs"),
        (("KUBERNETES_SERVICE_HOST",), "aws-fluent-bit-plugin-k8s"),
        (("ECS_CONTAINER_METADATA_URI_V4", "KUBERNETES_SERVICE_HOST"), "aws-fluent-bit-plugin-ecs"),
    ],
)
async def test_the_user_agent_tells_where_we_run(
    variables: tuple[str, ...],
    expected: str,
    s3: SmallS3,
    tmp_path: Path,
    aws_keys: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ECS_CONTAINER_METADATA_URI_V4", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name in variables:
        monkeypatch.setenv(name, "10.0.0.1")
    async with running(options_of(s3.url, tmp_path, "total_file_size 1M\n")) as one:
        one.put(batch_of({"n": 1}))
        await one.drain()

    [call] = s3.calls
    assert call.headers["user-agent"] == expected


def test_the_example_can_be_loaded_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--dry-run", "-c", str(REPOSITORY / "config" / "s3.conf")])

    told = capsys.readouterr()
    assert code == 0, told.err
    assert "warn" not in told.out + told.err
