"""What is told about outputs to AWS, against an emulator and against a service that refuses."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session

from shipper.cli import load_pipeline
from shipper.command_line import CommandLine
from shipper.doctor.aws_check import Report, check_outputs
from tests.components.scripted_aws import Reply, ScriptedAws, error
from tests.outputs.s3.server import Fault, SmallS3

pytestmark = pytest.mark.usefixtures("aws_keys")
ROLE = "arn:aws:iam::123456789012:role/pod"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """aiobotocore tells of every refresh that fails, with its traceback."""
    log = logging.getLogger("aiobotocore")
    handler = logging.NullHandler()
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


def api(service: str, url: str) -> Any:
    return get_session().create_client(service, region_name="us-east-1", endpoint_url=url)


async def checked(folder: Path, section: str) -> Report:
    path = folder / "c.conf"
    path.write_text(f"[INPUT]\n  name dummy\n[OUTPUT]\n  match *\n  region us-east-1\n{section}\n")
    [report] = await check_outputs(load_pipeline(CommandLine(config_file=str(path)), {}, []))
    assert report.title.startswith(f"{path}:3: output ")
    return report


def to_logs(url: str, group: str, lines: str = "", sts: str = "") -> str:
    where = f"  endpoint {url}\n  sts_endpoint {sts or url}\n"
    return f"  name cloudwatch_logs\n  log_group_name {group}\n  log_stream_name s\n{where}{lines}"


def expiry(report: Report) -> datetime:
    [line] = [line for line in report.lines if line.startswith("expiry:")]
    return datetime.fromisoformat(line.split()[1])


async def test_provider_principal_expiry_and_actions_are_told(tmp_path: Path, moto_url: str) -> None:
    group = f"g-{uuid.uuid4().hex}"
    async with api("logs", moto_url) as logs:
        await logs.create_log_group(logGroupName=group)
        await logs.create_log_stream(logGroupName=group, logStreamName="s")
        report = await checked(tmp_path, to_logs(moto_url, group))
        events = (await logs.get_log_events(logGroupName=group, logStreamName="s"))["events"]

    assert report.lines == (
        "credentials: env (environment variables)",
        "expiry:      never",
        "principal:   arn:aws:sts::123456789012:user/moto (account 123456789012)",
        f"allowed   logs:PutLogEvents on log stream s of log group {group}",
        f"allowed   logs:CreateLogStream on log stream s of log group {group}",
    )
    assert report.findings == ()
    assert events == []


async def test_nothing_is_created(tmp_path: Path, moto_url: str) -> None:
    group = f"g-{uuid.uuid4().hex}"
    report = await checked(tmp_path, to_logs(moto_url, group, "  auto_create_group on\n"))
    async with api("logs", moto_url) as logs:
        found = (await logs.describe_log_groups(logGroupNamePrefix=group))["logGroups"]

    assert "not tried logs:CreateLogGroup" in report.lines[4]
    assert (report.findings, found) == ((), [])


async def test_a_role_is_told_with_what_it_was_assumed_with(tmp_path: Path, moto_url: str) -> None:
    report = await checked(tmp_path, to_logs(moto_url, "g", "  role_arn arn:aws:iam::123456789012:role/logs\n"))

    assert report.lines[0] == (
        "credentials: env (environment variables), then sts-assume-role (role_arn of the output)"
    )
    assert ":assumed-role/logs/" in report.lines[2]
    assert timedelta(minutes=50) < expiry(report) - datetime.now(UTC) < timedelta(minutes=61)


async def test_a_token_file_that_cannot_be_read_is_named(
    tmp_path: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_url)
    report = await checked(tmp_path, to_logs(moto_url, "g"))

    assert report.lines == (
        "credentials: none from assume-role-with-web-identity (token file AWS_WEB_IDENTITY_TOKEN_FILE, as with IRSA)",
    )
    assert f"{tmp_path / 'token'}: No such file or directory" in report.findings[0].message


async def test_a_machine_without_credentials_is_told(
    tmp_path: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    report = await checked(tmp_path, to_logs(moto_url, "g"))

    assert report.lines == ("credentials: none",)
    assert "there are no credentials: " in report.findings[0].message


async def test_a_profile_that_does_not_exist_is_told_with_its_line(tmp_path: Path, moto_url: str) -> None:
    report = await checked(tmp_path, to_logs(moto_url, "g", "  profile nobody\n"))

    assert "nobody" in report.findings[0].message


async def test_a_missing_action_is_named(tmp_path: Path, moto_url: str, scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", error("AccessDeniedException", "User: arn:x is not authorized"))
    report = await checked(tmp_path, to_logs(scripted_aws.url, "g", sts=moto_url))

    [finding] = report.findings
    assert str(finding) == (
        f"{report.title}: logs:PutLogEvents on log stream s of log group g denied: AccessDeniedException: User: arn:x "
        "is not authorized - allow logs:PutLogEvents in the IAM policy, and see who else denies it"
    )


async def test_actions_are_tried_even_if_sts_cannot_be_reached(tmp_path: Path, scripted_aws: ScriptedAws) -> None:
    report = await checked(tmp_path, to_logs(scripted_aws.url, "g", sts="http://127.0.0.1:1"))

    assert report.lines[2:4] == (
        "principal:   unknown",
        "allowed   logs:PutLogEvents on log stream s of log group g",
    )
    assert report.findings[0].message.startswith("sts:GetCallerIdentity failed: Could not connect")


async def test_what_sts_says_of_credentials_is_told(tmp_path: Path, scripted_aws: ScriptedAws) -> None:
    text = (
        b"<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code>"
        b"<Message>The security token is expired</Message></Error></ErrorResponse>"
    )
    scripted_aws.script("", Reply(403, text, {"Content-Type": "text/xml"}))
    report = await checked(tmp_path, to_logs(scripted_aws.url, "g"))

    assert "GetCallerIdentity failed: ExpiredToken: The security token is expired" in report.findings[0].message


async def test_waits_have_a_deadline(tmp_path: Path, scripted_aws: ScriptedAws) -> None:
    """Of STS and of the service, as short as the output's own."""
    scripted_aws.script("", Reply(delay_s=5), Reply(delay_s=5))
    scripted_aws.script("PutLogEvents", Reply(delay_s=5))
    report = await checked(tmp_path, to_logs(scripted_aws.url, "g", "  net.io_timeout 0.2\n"))

    assert len(report.findings) == 2
    assert report.lines[-1].startswith("failed    logs:PutLogEvents")


async def test_a_bucket_is_tried_and_stays_empty(tmp_path: Path, moto_url: str, s3: SmallS3) -> None:
    s3.fail("HeadObject", Fault(200, b""))  # it is the bucket that is asked for, which this service does not know
    report = await checked(tmp_path, f"  name s3\n  bucket b-1\n  endpoint {s3.url}\n  sts_endpoint {moto_url}\n")

    assert [line.split()[0] for line in report.lines[3:]] == ["allowed"] * 4
    assert report.findings == ()
    assert s3.operations() == ["HeadObject", "UploadPart", "AbortMultipartUpload", "ListMultipartUploads"]
    assert (s3.objects, s3.uploads) == ({}, {})


async def test_an_action_that_s3_denies_is_named(tmp_path: Path, moto_url: str, s3: SmallS3) -> None:
    s3.fail("HeadObject", Fault(200, b""))
    s3.fail("UploadPart", Fault(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"))
    report = await checked(tmp_path, f"  name s3\n  bucket b-1\n  endpoint {s3.url}\n  sts_endpoint {moto_url}\n")

    assert [(finding.message, finding.remedy) for finding in report.findings] == [
        (
            "s3:PutObject on fluent-bit-logs/shipper-doctor in bucket b-1 denied: AccessDenied: Access Denied",
            "allow s3:PutObject in the IAM policy, and see who else denies it",
        )
    ]


async def test_a_bucket_that_is_missing_is_told(tmp_path: Path, moto_url: str) -> None:
    section = f"  name s3\n  bucket nope-{uuid.uuid4().hex}\n  endpoint {moto_url}\n  sts_endpoint {moto_url}\n"
    report = await checked(tmp_path, section)

    assert [finding.remedy for finding in report.findings] == ["create it, or mend its name"]


@pytest.mark.parametrize(
    ("section", "action"),
    [
        ("  name kinesis_streams\n  stream nope\n", "kinesis:DescribeStreamSummary"),
        ("  name kinesis_firehose\n  delivery_stream nope\n", "firehose:DescribeDeliveryStream"),
    ],
)
async def test_a_stream_that_is_missing_is_told(tmp_path: Path, moto_url: str, section: str, action: str) -> None:
    report = await checked(tmp_path, f"{section}  endpoint {moto_url}\n  sts_endpoint {moto_url}\n")

    assert [finding.message for finding in report.findings] == [f"{action} on stream nope failed: it does not exist"]


async def test_an_output_that_signs_its_requests_is_told_who_it_is(tmp_path: Path, moto_url: str) -> None:
    path = tmp_path / "c.conf"
    signing = f"  aws_auth on\n  aws_service aps\n  aws_region us-east-1\n  aws_sts_endpoint {moto_url}\n"
    path.write_text(f"[INPUT]\n  name dummy\n[OUTPUT]\n  name http\n  match *\n  host 127.0.0.1\n{signing}")
    [report] = await check_outputs(load_pipeline(CommandLine(config_file=str(path)), {}, []))

    assert report.lines[2:] == (
        "principal:   arn:aws:sts::123456789012:user/moto (account 123456789012)",
        "not tried requests on service aps: that would send records",
    )
