"""Where credentials came from, who they stand for, and what is made of those that are of no use."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shipper.aws.client import AwsClient
from shipper.aws.identity import CallerIdentity, Principal
from shipper.aws.session import CredentialsOrigin
from shipper.aws.settings import AwsSettings, NoCredentials
from tests.components.http_server import Got, HttpServer, Says, http_server

pytestmark = pytest.mark.usefixtures("aws_keys")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """aiobotocore tells of every refresh that fails, with its traceback."""
    log = logging.getLogger("aiobotocore")
    handler = logging.NullHandler()
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


def keys_until(expiration: datetime) -> Says:
    """An answer of the endpoint for containers."""
    keys = {"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c", "Expiration": expiration.isoformat()}
    return Says(body=json.dumps(keys).encode())


def settings_for(server: HttpServer) -> AwsSettings:
    return AwsSettings(region="us-east-1", credentials_endpoint=f"http://127.0.0.1:{server.port}/keys")


async def test_principal_is_what_sts_says(moto_url: str) -> None:
    identity = CallerIdentity(AwsSettings(region="us-east-1", sts_endpoint=moto_url))
    before = identity.origin()
    await identity.find()

    assert before is None
    assert identity.origin() == CredentialsOrigin(("env",), None)
    assert await identity.principal() == Principal("arn:aws:sts::123456789012:user/moto", "123456789012")


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"])
async def test_the_environment_may_say_where_sts_is(
    moto_url: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv(variable, moto_url)
    identity = CallerIdentity(AwsSettings(region="us-east-1"))
    await identity.find()

    assert (await identity.principal()).account == "123456789012"


async def test_keys_with_an_end_tell_it() -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    async with http_server(lambda got: keys_until(end)) as server:
        identity = CallerIdentity(settings_for(server))
        await identity.find()

    assert identity.origin() == CredentialsOrigin(("container-role",), end)


async def test_keys_that_are_over_when_they_come_are_none() -> None:
    def answer(got: Got) -> Says:
        return keys_until(datetime.now(UTC) - timedelta(hours=1))

    async with http_server(answer) as server:
        with pytest.raises(NoCredentials, match="still expired"):
            await CallerIdentity(settings_for(server)).find()


async def test_a_call_without_its_token_file_has_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    client = AwsClient("logs", AwsSettings(region="us-east-1", endpoint_url="http://127.0.0.1:1"))
    await client.open()
    try:
        with pytest.raises(NoCredentials, match=r"web identity: .*token: No such file"):
            await client.call("PutLogEvents", b"{}")
    finally:
        await client.close()
