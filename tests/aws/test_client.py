"""Calls with finished bodies, and where their credentials come from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from shipper.aws.client import AwsClient
from shipper.aws.settings import AwsError, AwsSettings, NoAnswer, NoCredentials
from shipper.errors import OptionError
from tests.components.scripted_aws import Reply, ScriptedAws, error

pytestmark = pytest.mark.usefixtures("aws_keys")


@asynccontextmanager
async def opened(url: str | None, **settings: Any) -> AsyncIterator[AwsClient]:
    client = AwsClient("logs", AwsSettings(region="eu-west-1", endpoint_url=url, **settings))
    await client.open()
    try:
        yield client
    finally:
        await client.close()


async def test_body_is_sent_as_it_is_and_signed(scripted_aws: ScriptedAws) -> None:
    async with opened(scripted_aws.url, user_agent="suffix") as client:
        answer = await client.call("PutLogEvents", b'{ "any" : "text" }', {"x-extra": "1"})

    [sent] = scripted_aws.sent
    assert sent.body == b'{ "any" : "text" }'
    assert sent.headers["x-amz-target"] == "Logs_20140328.PutLogEvents"
    assert sent.headers["content-length"] == "18"
    assert sent.headers["user-agent"].endswith(" suffix")
    assert "/eu-west-1/logs/aws4_request" in sent.headers["authorization"]
    assert "x-extra" in sent.headers["authorization"]
    assert answer.request_id == "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"])
async def test_without_an_endpoint_the_environment_says_where_to_call(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv(variable, scripted_aws.url)
    async with opened(None) as client:
        await client.call("PutLogEvents", b"{}")

    assert len(scripted_aws.sent) == 1


async def test_an_endpoint_wins_over_the_environment(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://127.0.0.1:1")
    async with opened(scripted_aws.url) as client:
        await client.call("PutLogEvents", b"{}")

    assert len(scripted_aws.sent) == 1


async def test_connection_is_kept(scripted_aws: ScriptedAws) -> None:
    async with opened(scripted_aws.url) as client:
        for _ in range(3):
            await client.call("PutLogEvents", b"{}")

    assert scripted_aws.connections == 1


async def test_error_carries_code_words_and_fields(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script(
        "PutLogEvents", error("com.amazonaws#InvalidSequenceTokenException", "no", expectedSequenceToken="t")
    )
    async with opened(scripted_aws.url) as client:
        with pytest.raises(AwsError) as caught:
            await client.call("PutLogEvents", b"{}")

    assert (caught.value.code, caught.value.status, caught.value.message) == (
        "InvalidSequenceTokenException",
        400,
        "no",
    )
    assert caught.value.fields["expectedSequenceToken"] == "t"


async def test_signatures_follow_the_clock_of_the_service_once_it_refused_ours(scripted_aws: ScriptedAws) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=3)
    refusal = error("InvalidSignatureException", "Signature expired: 1 is now earlier than 2")
    refusal.headers = {"Date": format_datetime(ahead, usegmt=True)}
    scripted_aws.script("PutLogEvents", refusal)
    async with opened(scripted_aws.url) as client:
        with pytest.raises(AwsError, match="Signature expired"):
            await client.call("PutLogEvents", b"{}")
        await client.call("PutLogEvents", b"{}")

    signed_at = datetime.strptime(scripted_aws.sent[1].headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(signed_at - ahead) < timedelta(minutes=1)


async def test_a_call_is_made_once_whatever_the_answer(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(500, b""), Reply(500, b""))
    async with opened(scripted_aws.url) as client:
        with pytest.raises(AwsError, match="500"):
            await client.call("PutLogEvents", b"{}")

    assert len(scripted_aws.sent) == 1


async def test_cut_connection_is_no_answer(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(cut=True))
    async with opened(scripted_aws.url) as client:
        with pytest.raises(NoAnswer) as caught:
            await client.call("PutLogEvents", b"{}")

    assert not caught.value.timed_out


async def test_late_answer_is_no_answer(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(delay_s=0.3))
    async with opened(scripted_aws.url, io_timeout=0.1) as client:
        with pytest.raises(NoAnswer) as caught:
            await client.call("PutLogEvents", b"{}")

    assert caught.value.timed_out


async def test_unknown_profile_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(OptionError, match="nobody"):
        async with opened("http://127.0.0.1:1", profile="nobody"):
            pass


async def test_shared_files_that_cannot_be_read_are_told_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(OptionError, match="Unable to parse config file"):
        async with opened("http://127.0.0.1:1"):
            pass


async def test_a_page_in_place_of_an_answer_is_told_in_one_short_line(scripted_aws: ScriptedAws) -> None:
    scripted_aws.script("PutLogEvents", Reply(502, b"<html>\r\n\x1b[31mBad\x00 Gateway\n" + b"<p>" * 1000))
    async with opened(scripted_aws.url) as client:
        with pytest.raises(AwsError, match=r"502: <html> \[31mBad Gateway <p>") as caught:
            await client.call("PutLogEvents", b"{}")

    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


async def test_credentials_come_from_the_profile(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text("[ops]\naws_access_key_id = from-file\naws_secret_access_key = z\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    async with opened(scripted_aws.url, profile="ops") as client:
        await client.call("PutLogEvents", b"{}")

    assert "Credential=from-file/" in scripted_aws.sent[0].headers["authorization"]


async def test_credentials_are_looked_for_until_found_and_again_when_forgotten(
    scripted_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with opened(scripted_aws.url) as client:
        with pytest.raises(NoCredentials):
            await client.call("PutLogEvents", b"{}")
        for name in ("first", "second"):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
            await client.call("PutLogEvents", b"{}")
        client.forget_credentials()
        await client.call("PutLogEvents", b"{}")

    used = [s.headers["authorization"].split("Credential=")[1].split("/")[0] for s in scripted_aws.sent]
    assert used == ["first", "first", "second"]


async def test_a_role_is_assumed_with_the_credentials_found(scripted_aws: ScriptedAws, moto_url: str) -> None:
    role = "arn:aws:iam::123456789012:role/shipper"
    async with opened(scripted_aws.url, role_arn=role, external_id="ext", sts_endpoint=moto_url) as client:
        await client.call("PutLogEvents", b"{}")
        await client.call("PutLogEvents", b"{}")

    first, second = (s.headers for s in scripted_aws.sent)
    assert "x-amz-security-token" in first
    assert "Credential=x/" not in first["authorization"]
    assert first["x-amz-security-token"] == second["x-amz-security-token"]


async def test_a_role_that_cannot_be_assumed_is_told(scripted_aws: ScriptedAws) -> None:
    refusal = (
        b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        b"<Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>"
    )
    scripted_aws.script("", Reply(403, refusal, {"Content-Type": "text/xml"}))
    role = "arn:aws:iam::123456789012:role/shipper"
    async with opened("http://127.0.0.1:1", role_arn=role, sts_endpoint=scripted_aws.url) as client:
        with pytest.raises(AwsError, match="AccessDenied: AssumeRole: not yours"):
            await client.call("PutLogEvents", b"{}")

    assert b"Action=AssumeRole" in scripted_aws.sent[0].body
