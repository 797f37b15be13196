from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from shipper.aws.messages import FilePart, RestAnswer, escaped
from shipper.aws.rest import RestClient
from shipper.aws.settings import AwsError, AwsSettings, NoAnswer, NoCredentials
from tests.components.moto_server import aws_keys
from tests.outputs.s3.server import Fault, SmallS3, s3

__all__ = ["aws_keys", "s3"]  # fixtures


async def opened(url: str) -> RestClient:
    client = RestClient("s3", f"{url}/b", AwsSettings(region="eu-west-1", user_agent="agent", connect_timeout=2.0))
    await client.open()
    return client


async def test_a_part_of_a_file_is_signed_with_its_hash_and_sent(s3: SmallS3, aws_keys: None, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"xx" + b"body" * 200_000 + b"yy")
    client = await opened(s3.url)
    digest = "6e1f4ac9a4c2b5c5a1a0b0b7f5c7f1d0" * 2
    with pytest.raises(AwsError):
        s3.fail("PutObject", Fault())
        await client.call("PUT", "/k", {"x-amz-acl": "private"}, FilePart(str(path), 2, 800_002, digest))
    await client.close()
    s3.wrong.clear()  # the hash was made up

    [call] = s3.calls
    assert call.body == b"body" * 200_000
    assert call.headers["x-amz-content-sha256"] == digest
    assert (
        "/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-acl;x-amz-content-sha256;x-amz-date"
        in (call.headers["authorization"])
    )


async def test_a_clock_that_is_wrong_is_corrected_by_the_answer(s3: SmallS3, aws_keys: None) -> None:
    body = b"<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>"
    ahead = formatdate(time.time() + 7200, usegmt=True)
    s3.fail("PutObject", Fault(403, body, headers={"Date": ahead}))
    client = await opened(s3.url)
    with pytest.raises(AwsError):
        await client.call("PUT", "/k")
    await client.call("PUT", "/k")
    await client.close()

    signed = [time.strptime(call.headers["x-amz-date"], "%Y%m%dT%H%M%SZ") for call in s3.calls]
    assert 7190 < time.mktime(signed[1]) - time.mktime(signed[0]) < 7260


async def test_a_call_that_may_have_been_done_is_not_made_again_behind_our_back(s3: SmallS3, aws_keys: None) -> None:
    client = await opened(s3.url)
    await client.call("PUT", "/warm")
    s3.fail("PutObject", Fault(done=True, cut=True))
    with pytest.raises(NoAnswer):
        await client.call("PUT", "/k")
    await client.close()

    assert s3.operations() == ["PutObject", "PutObject"]


async def test_nobody_listening_is_no_answer(aws_keys: None) -> None:
    client = await opened("http://127.0.0.1:1")
    with pytest.raises(NoAnswer, match="Cannot connect"):
        await client.call("PUT", "/k")
    await client.close()


async def test_without_credentials_nothing_is_sent(
    s3: SmallS3, aws_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client = await opened(s3.url)
    with pytest.raises(NoCredentials):
        await client.call("PUT", "/k")
    await client.close()

    assert s3.calls == []


def test_elements_are_found_with_and_without_a_name_space() -> None:
    answer = RestAnswer(200, {}, b'<R xmlns="n"><Key a="1">a&amp;b&lt;</Key><Key>c</Key></R>')

    assert answer.elements("Key") == ["a&b<", "c"]
    assert answer.element("UploadId") is None
    assert escaped('<"a&b">') == "&lt;&quot;a&amp;b&quot;&gt;"
