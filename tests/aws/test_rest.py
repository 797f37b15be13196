from __future__ import annotations

import hashlib
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from botocore.credentials import ReadOnlyCredentials

from shipper.aws.messages import FilePart, RestAnswer, escaped
from shipper.aws.rest import RestClient
from shipper.aws.settings import AwsError, AwsSettings, NoAnswer, NoCredentials
from tests.components.moto_server import aws_keys
from tests.outputs.s3.server import Fault, SmallS3, s3

__all__ = ["aws_keys", "s3"]  # fixtures


class Keys:
    """Credentials that are always there."""

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("x", "y", None)


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
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:1: "):
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


async def test_a_file_that_is_shorter_than_it_was_is_not_sent_as_if_it_were_whole(
    s3: SmallS3, aws_keys: None, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * 1000)
    client = await opened(s3.url)
    with pytest.raises(NoAnswer, match="ends before its time"):
        await client.call("PUT", "/k", {}, FilePart(str(path), 500, 2000, "0" * 64))
    await client.close()

    assert s3.objects == {}


async def test_a_large_body_has_the_time_it_needs_beyond_that_of_a_call(
    s3: SmallS3, aws_keys: None, tmp_path: Path
) -> None:
    path, body = tmp_path / "f", b"x" * 8_000_000
    path.write_bytes(body)
    settings = AwsSettings(region="eu-west-1", io_timeout=0.000_001, use_proxy=False)
    client = RestClient("s3", f"{s3.url}/b", settings)
    await client.open()
    client._credentials = Keys()  # type: ignore[assignment]  # these need none of the time
    await client.call("PUT", "/k", {}, FilePart(str(path), 0, len(body), hashlib.sha256(body).hexdigest()))
    with pytest.raises(NoAnswer, match="no answer within"):
        await client.call("PUT", "/small")
    await client.close()

    assert s3.objects["k"].data == body


async def test_an_answer_of_many_lines_is_told_in_one(s3: SmallS3, aws_keys: None) -> None:
    page = b"<html>\r\n<Message>not\x00\x1b[1m\n\n  now" + b" x" * 1000 + b"</Message></html>"
    s3.fail("PutObject", Fault(503, page))
    client = await opened(s3.url)
    with pytest.raises(AwsError, match=r"not \[1m now x x") as caught:
        await client.call("PUT", "/k")
    await client.close()

    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
