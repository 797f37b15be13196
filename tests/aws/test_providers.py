"""Which provider gives the credentials, what is asked of it, and what is told when there are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import ClientError
from botocore.utils import ContainerMetadataFetcher

from shipper.aws.session import Credentials
from shipper.aws.settings import AwsSettings, NoCredentials
from tests.components.http_server import Got, HttpServer, Says, http_server

ROLE = "arn:aws:iam::123456789012:role/pod"
TOKEN, ROLES = "/latest/api/token", "/latest/meta-data/iam/security-credentials/"


@pytest.fixture(autouse=True)
def nobody(aws_keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No provider has anything, and none waits before it tries again."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    yield


def credentials(**settings: Any) -> Credentials:
    return Credentials(AwsSettings(region="eu-west-1", **settings))


async def key_of(found: Credentials) -> str:
    """The id of the key that requests are signed with."""
    keys = await found.get_frozen_credentials()
    return str(keys.access_key)


def keys(name: str, valid: timedelta = timedelta(hours=1)) -> Says:
    """Keys as the metadata service and the endpoint for containers give them out."""
    told = {"AccessKeyId": name, "SecretAccessKey": "s", "Token": "t", "Code": "Success"}
    return Says(body=json.dumps({**told, "Expiration": (datetime.now(UTC) + valid).isoformat()}).encode())


def from_sts(got: Got) -> Says:
    """Keys named after the action, as STS gives them out."""
    action = asked_of_sts(got)["Action"]
    given = "<AccessKeyId>{}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    inner = f"<Credentials>{given.format(action)}<Expiration>{end}</Expiration></Credentials>"
    user = f"<AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>i</AssumedRoleId></AssumedRoleUser>"
    text = f"<{action}Response><{action}Result>{inner}{user}</{action}Result></{action}Response>"
    return Says(body=text.encode(), headers={"Content-Type": "text/xml"})


def asked_of_sts(got: Got) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(got.raw.decode()).items()}


def write_keys(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))


def want_web_identity(
    folder: Path, sts: HttpServer, monkeypatch: pytest.MonkeyPatch, token: str | None = "a-token"
) -> None:
    if token is not None:
        (folder / "token").write_text(token)
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.port}")


def want_container(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.port}/keys")


def want_metadata(server: HttpServer | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.port if server else 1}")


def metadata(got: Got) -> Says:
    """The metadata service, version 2: nothing without a token."""
    if (got.method, got.target) == ("PUT", TOKEN):
        return Says(body=b"of-today")
    if got.headers.get("x-aws-ec2-metadata-token") != "of-today":
        return Says(401)
    return {ROLES: Says(body=b"node"), f"{ROLES}node": keys("from-node")}[got.target]


async def test_every_provider_is_told_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere/config")
    want_metadata(None, monkeypatch)
    with pytest.raises(NoCredentials) as caught:
        await key_of(credentials())

    told = str(caught.value)
    assert told == (
        "no provider has credentials (environment: AWS_ACCESS_KEY_ID not set; shared files: /nowhere/credentials and "
        "/nowhere/config not there; web identity: AWS_WEB_IDENTITY_TOKEN_FILE not set; container endpoint: neither "
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI set; IMDS: "
        "http://127.0.0.1:1: Connection refused)"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[other]\naws_access_key_id = a\naws_secret_access_key = s\n", "no profile default in"),
        ("[default]\nregion = r\n", "profile default has no credentials"),
        ("[default]\naws_access_key_id = a\n", "missing: aws_secret_access_key"),
        ("[default\n", "Unable to parse config file"),
    ],
)
async def test_what_is_wrong_with_the_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    (tmp_path / "credentials").write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(NoCredentials, match=f"shared files: [^;]*{words}"):
        await key_of(credentials())


async def test_secrets_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "very-secret")
    async with http_server(lambda got: Says(500, b"no")) as server:
        want_container(server, monkeypatch)
        with pytest.raises(NoCredentials) as caught:
            await key_of(credentials())

    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Says(500, b"<html>\r\n<body>\x1b[31mno\x00\n" + b"<p>" * 1000), "500 .*<html> <body> .31mno <p><p>"),
        (Says(body=b"not json"), "Unable to parse JSON"),
        (Says(body=b"{}"), "the answer lacks 'AccessKeyId'"),
        (Says(body=b"[]"), "list indices"),
        (Says(cut=True), "container metadata|Connection"),
    ],
)
async def test_a_strange_answer_is_told_in_one_short_line(
    monkeypatch: pytest.MonkeyPatch, answer: Says, words: str
) -> None:
    async with http_server(lambda got: answer) as server:
        want_container(server, monkeypatch)
        with pytest.raises(NoCredentials, match=f"container endpoint: .*{words}") as caught:
            await key_of(credentials())

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


async def test_files_come_before_a_web_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_server(from_sts) as sts:
        want_web_identity(tmp_path, sts, monkeypatch)
        first = await key_of(credentials())
        write_keys(tmp_path / "credentials", "from-file", monkeypatch)
        second = await key_of(credentials())
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        third = await key_of(credentials())

    assert [first, second, third] == ["AssumeRoleWithWebIdentity", "from-file", "from-environment"]
    assert len(sts.got) == 1


async def test_a_web_identity_comes_before_the_endpoint_for_containers_and_that_before_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_server(metadata) as node, http_server(lambda got: keys("from-container")) as container:
        want_metadata(node, monkeypatch)
        first = await key_of(credentials())
        want_container(container, monkeypatch)
        second = await key_of(credentials())
        async with http_server(from_sts) as sts:
            want_web_identity(tmp_path, sts, monkeypatch)
            third = await key_of(credentials())

    assert [first, second, third] == ["from-node", "from-container", "AssumeRoleWithWebIdentity"]


async def test_providers_after_one_that_fails_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(got: Got) -> Says:
        text = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>"
        return Says(403, text, {"Content-Type": "text/xml"})

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "without-a-secret")
    async with http_server(refuse) as sts, http_server(lambda got: Says(500)) as container:
        want_web_identity(tmp_path, sts, monkeypatch)
        want_container(container, monkeypatch)
        with pytest.raises(NoCredentials) as caught:
            await key_of(credentials())
        async with http_server(metadata) as node:
            want_metadata(node, monkeypatch)
            found = credentials()
            key = await key_of(found)

    told = str(caught.value)
    assert "environment: Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY;" in told
    assert "web identity: An error occurred (AccessDenied)" in told
    assert "not yours" in told
    assert "container endpoint: Error retrieving metadata: Received non 200 response 500" in told
    assert key == "from-node"
    origin = found.origin()
    assert origin is not None
    assert origin.providers == ("iam-role",)


async def test_a_token_file_that_is_not_there_does_not_keep_from_the_next_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_server(from_sts) as sts, http_server(lambda got: keys("from-container")) as container:
        want_web_identity(tmp_path, sts, monkeypatch, token=None)
        want_container(container, monkeypatch)
        key = await key_of(credentials())

    assert key == "from-container"
    assert sts.got == []


async def test_a_provider_that_does_not_answer_is_given_up_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipper.aws.session._PROVIDER_TIMEOUT_S", 2.0)
    config, started = tmp_path / "config", tmp_path / "started"
    config.write_text(f"[default]\ncredential_process = sh -c 'echo $$ > {started}; sleep 600 | cat'\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    found = credentials()
    async with http_server(lambda got: keys("from-container")) as container:
        want_container(container, monkeypatch)
        key = await key_of(found)

    assert key == "from-container"
    assert "shared files: no end within 2 seconds" in str(found._trail)
    assert not Path(f"/proc/{started.read_text().strip()}").exists()


@pytest.mark.parametrize("answer", [b"<html>away</html>", b"away"])
async def test_another_identity_is_used_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    is_away = True

    def sts(got: Got) -> Says:
        return Says(400, body=answer) if is_away else from_sts(got)

    async with http_server(sts) as server, http_server(metadata) as node:
        want_web_identity(tmp_path, server, monkeypatch)
        want_metadata(node, monkeypatch)
        for_long, for_no_time = credentials(), credentials()
        used = [await key_of(for_long)]
        monkeypatch.setattr("shipper.aws.session._LOOK_AGAIN_S", 0.0)
        used.append(await key_of(for_no_time))
        is_away = False
        used += [await key_of(for_long), await key_of(for_no_time), await key_of(for_no_time)]

    assert used == ["from-node"] * 3 + ["AssumeRoleWithWebIdentity"] * 2


async def test_all_providers_are_asked_again_when_the_one_in_use_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_server(lambda got: Says(500)) as container:
        container.script = [keys("first", timedelta(seconds=59))]
        want_container(container, monkeypatch)
        found = credentials()
        with pytest.raises(NoCredentials, match=r"still|500"):
            await key_of(found)
        container.script = [keys("second", timedelta(seconds=120))]
        second = await key_of(found)
        found._source._expiry_time = datetime.now(UTC) + timedelta(seconds=30)
        write_keys(tmp_path / "credentials", "from-file", monkeypatch)
        third = await key_of(found)

    assert (second, third) == ("second", "from-file")


async def test_metadata_is_asked_for_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_server(metadata) as node:
        want_metadata(node, monkeypatch)
        key = await key_of(credentials())

    assert key == "from-node"
    assert [(got.method, got.target) for got in node.got] == [
        ("PUT", TOKEN),
        ("GET", ROLES),
        ("GET", f"{ROLES}node"),
    ]
    assert node.got[0].headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_without_tokens_the_first_version_of_the_metadata_service_is_asked(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def first_version(got: Got) -> Says:
        if got.method == "PUT":
            return Says(status)
        return {ROLES: Says(body=b"node"), f"{ROLES}node": keys("from-node")}[got.target]

    async with http_server(first_version) as node:
        want_metadata(node, monkeypatch)
        key = await key_of(credentials())
        monkeypatch.setenv("AWS_EC2_METADATA_V1_DISABLED", "true")
        with pytest.raises(NoCredentials, match=r"IMDS: .*IMDSv1"):
            await key_of(credentials())

    assert key == "from-node"
    assert all("x-aws-ec2-metadata-token" not in got.headers for got in node.got)


async def test_what_the_metadata_service_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_a_role(got: Got) -> Says:
        return Says(body=b"of-today") if got.method == "PUT" else Says(404, b"<html>\n<h1>Not Found</h1>\n</html>")

    async with http_server(without_a_role) as node:
        want_metadata(node, monkeypatch)
        with pytest.raises(NoCredentials) as caught:
            await key_of(credentials())

    assert f"IMDS: http://127.0.0.1:{node.port}: status 404 <html> <h1>Not Found</h1> </html>)" in str(caught.value)


@pytest.mark.parametrize("place", ["AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
async def test_the_endpoint_for_containers_gets_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "token").write_text("of-the-pod")
    monkeypatch.setenv(place, str(tmp_path / "token") if place.endswith("FILE") else "of-the-pod")
    async with http_server(lambda got: keys("from-container")) as container:
        want_container(container, monkeypatch)
        key = await key_of(credentials())

    assert key == "from-container"
    assert [(got.method, got.target, got.headers["authorization"]) for got in container.got] == [
        ("GET", "/keys", "of-the-pod")
    ]


async def test_a_token_of_the_pod_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    async with http_server() as container:
        want_container(container, monkeypatch)
        with pytest.raises(NoCredentials, match=r"container endpoint: .*/token: No such file"):
            await key_of(credentials())


async def test_the_role_of_an_ecs_task_is_a_path_at_the_address_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ContainerMetadataFetcher.IP_ADDRESS == "169.254.170.2"
    async with http_server(lambda got: keys("of-the-task")) as agent:
        monkeypatch.setattr(ContainerMetadataFetcher, "IP_ADDRESS", f"127.0.0.1:{agent.port}")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/task")
        key = await key_of(credentials())

    assert key == "of-the-task"
    assert [got.target for got in agent.got] == ["/v2/credentials/task"]


async def test_credentials_are_not_fetched_from_anywhere_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://elsewhere.example/keys")
    with pytest.raises(NoCredentials, match=r"Unsupported host 'elsewhere\.example'"):
        await key_of(credentials())


async def test_a_web_identity_is_shown_to_the_sts_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_server(from_sts) as sts, http_server(lambda got: Says(500)) as other:
        want_web_identity(tmp_path, other, monkeypatch)
        key = await key_of(credentials(sts_endpoint=f"http://127.0.0.1:{sts.port}"))

    asked = asked_of_sts(sts.got[0])
    assert key == "AssumeRoleWithWebIdentity"
    assert (asked["RoleArn"], asked["WebIdentityToken"]) == (ROLE, "a-token")
    assert other.got == []


async def test_the_role_of_a_fargate_pod_is_assumed_without_a_web_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EKS_POD_EXECUTION_ROLE", ROLE)
    async with http_server(from_sts) as sts, http_server(lambda got: keys("from-container")) as container:
        want_web_identity(tmp_path, sts, monkeypatch)
        want_container(container, monkeypatch)
        found = credentials(role_arn="arn:aws:iam::123456789012:role/logs", external_id="ext")
        key = await key_of(found)

    origin = found.origin()
    assert origin is not None
    assert (key, origin.providers) == ("AssumeRole", ("container-role", "sts-assume-role"))
    pod, own = map(asked_of_sts, sts.got)
    assert (pod["Action"], pod["RoleArn"], pod.get("ExternalId")) == ("AssumeRole", ROLE, None)
    assert (own["Action"], own["RoleArn"], own["ExternalId"]) == (
        "AssumeRole",
        "arn:aws:iam::123456789012:role/logs",
        "ext",
    )
    assert "Credential=from-container/" in sts.got[0].headers["authorization"]
    assert "Credential=AssumeRole/" in sts.got[1].headers["authorization"]


async def test_a_role_is_assumed_through_the_proxy_unless_that_is_to_be_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    async with http_server(from_sts) as proxy, http_server(from_sts) as sts:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        far = {"role_arn": ROLE, "sts_endpoint": f"http://127.0.0.1:{sts.port}"}
        through = await key_of(credentials(**far))
        asked_through, asked_directly = len(proxy.got), len(sts.got)
        directly = await key_of(credentials(**far, use_proxy=False))

    assert (through, directly) == ("AssumeRole", "AssumeRole")
    assert (asked_through, asked_directly) == (1, 0)
    assert (len(proxy.got), len(sts.got)) == (1, 1)


async def test_a_web_identity_is_shown_past_the_proxy_if_that_is_to_be_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with http_server(from_sts) as sts:
        want_web_identity(tmp_path, sts, monkeypatch)
        with pytest.raises(NoCredentials, match=r"web identity: .*127\.0\.0\.1:1"):
            await key_of(credentials())
        key = await key_of(credentials(use_proxy=False))

    assert key == "AssumeRoleWithWebIdentity"


async def test_a_role_whose_sts_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    with pytest.raises(NoCredentials, match=f"AssumeRole {ROLE}: http://127.0.0.1:1/: Connection refused"):
        await key_of(credentials(role_arn=ROLE, sts_endpoint="http://127.0.0.1:1"))


async def test_what_sts_says_of_a_role_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    text = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    async with http_server(lambda got: Says(403, text, {"Content-Type": "text/xml"})) as sts:
        with pytest.raises(ClientError, match="AccessDenied"):
            await key_of(credentials(role_arn=ROLE, sts_endpoint=f"http://127.0.0.1:{sts.port}"))
