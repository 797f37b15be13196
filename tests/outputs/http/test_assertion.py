"""private_key_jwt: what is stated, how it is signed, and which files cannot be used."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.x509 import load_pem_x509_certificate

from shipper.buffers.base import Delivery
from shipper.errors import ConfigError, OptionError, RetryLater
from shipper.outputs.http.assertion import ASSERTION_TYPE, AssertionMaker, AssertionSettings
from shipper.outputs.http.output import HttpOptions, HttpOutput
from shipper.testing import ManualClock, batch_of, context_of

from ...components.http_server import Says, http_server
from ...written_options import options_from

TOKEN = Says(200, b'{"access_token":"T1","token_type":"Bearer","expires_in":3600}')
NOW_S = 1_700_000_000


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an RSA key and its certificate, and the key of another kind."""
    folder = tmp_path_factory.mktemp("keys")
    made = [
        ("rsa:2048", "key.pem", "crt.pem"),
        ("ec", "ec.key", "ec.pem"),
    ]
    for kind, key, crt in made:
        more = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else []
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", kind, *more, "-nodes", "-days", "2", "-subj", "/CN=c"),
                *("-keyout", str(folder / key), "-out", str(folder / crt)),
            ],
            check=True,
            capture_output=True,
        )
    (folder / "crt.der").write_bytes(ssl.PEM_cert_to_DER_cert((folder / "crt.pem").read_text()))
    (folder / "chain.pem").write_text(f"a note\n{(folder / 'crt.pem').read_text()}{(folder / 'ec.pem').read_text()}")
    (folder / "rubbish").write_text("no key and no certificate")
    return folder


def maker(pair: Path, **more: Any) -> AssertionMaker:
    files = {"key_file": str(pair / "key.pem"), "certificate_file": str(pair / "crt.pem")}
    return AssertionMaker(AssertionSettings(**{"client_id": "me", "audience": "https://a/t", **files, **more}))


def stated(assertion: str, pair: Path, audience: str = "https://a/t") -> dict[str, Any]:
    """The claims of a statement whose signature is good."""
    key: Any = load_pem_x509_certificate((pair / "crt.pem").read_bytes()).public_key()
    found: dict[str, Any] = jwt.decode(
        assertion, key, algorithms=["RS256"], audience=audience, options={"verify_exp": False, "verify_iat": False}
    )
    return found


def test_a_statement_says_who_we_are_for_a_while(pair: Path) -> None:
    one, other = stated(maker(pair).make(NOW_S), pair), stated(maker(pair).make(NOW_S), pair)

    assert one["jti"] != other["jti"]
    assert {**one, "jti": ""} == {
        "iss": "me", "sub": "me", "aud": "https://a/t", "iat": NOW_S, "exp": NOW_S + 300, "jti": "",
    }  # fmt: skip


@pytest.mark.parametrize("file", ["crt.pem", "crt.der", "chain.pem"])
@pytest.mark.parametrize(("header", "digest"), [("kid", "sha1"), ("x5t", "sha1"), ("x5t#S256", "sha256")])
def test_a_header_tells_the_certificate(pair: Path, file: str, header: str, digest: str) -> None:
    found = jwt.get_unverified_header(maker(pair, header=header, certificate_file=str(pair / file)).make(NOW_S))

    hashed = hashlib.new(digest, (pair / "crt.der").read_bytes())
    expected = base64.urlsafe_b64encode(hashed.digest()).decode().rstrip("=")
    assert found == {"alg": "RS256", "typ": "JWT", header: hashed.hexdigest().upper() if header == "kid" else expected}


@pytest.mark.parametrize(
    ("more", "option"),
    [
        ({"key_file": "/nowhere"}, "oauth2.jwt_key_file"),
        ({"certificate_file": "/nowhere"}, "oauth2.jwt_cert_file"),
        ({"key_file": "rubbish"}, "oauth2.jwt_key_file"),
        ({"key_file": "ec.key"}, "oauth2.jwt_key_file"),
        ({"certificate_file": "rubbish"}, "oauth2.jwt_cert_file"),
    ],
)
def test_files_that_cannot_be_used_end_the_start(pair: Path, more: dict[str, str], option: str) -> None:
    with pytest.raises(OptionError) as failure:
        maker(pair, **{name: str(pair / file) for name, file in more.items()}).check()

    assert failure.value.option == option


def lines(port: int, folder: Path) -> str:
    return (
        f"host 127.0.0.1\nport {port}\noauth2.enable on\noauth2.client_id me\noauth2.auth_method private_key_jwt\n"
        f"oauth2.token_url http://127.0.0.1:{port}/token\noauth2.scope s\noauth2.jwt_ttl_seconds 60\n"
        f"oauth2.jwt_key_file {folder / 'key.pem'}\noauth2.jwt_cert_file {folder / 'crt.pem'}"
    )


async def test_a_statement_takes_the_place_of_a_secret(pair: Path) -> None:
    async with http_server() as server:
        server.script = [TOKEN]
        options = options_from(HttpOptions, lines(server.port, pair), "output")
        output = HttpOutput(options, context_of("output", clock=ManualClock(NOW_S * 1_000_000_000)))
        await output.open()
        await output.send(Delivery("", [batch_of("a")]))
        await output.close()

    asked, sent = server.got
    form = {name: value for name, [value] in parse_qs(asked.body.decode()).items()}
    claims = stated(form.pop("client_assertion"), pair, f"http://127.0.0.1:{server.port}/token")
    assert "authorization" not in asked.headers
    assert form == {
        "grant_type": "client_credentials", "scope": "s", "client_id": "me", "client_assertion_type": ASSERTION_TYPE,
    }  # fmt: skip
    assert claims["exp"] - claims["iat"] == 60
    assert sent.headers["authorization"] == "Bearer T1"


async def test_records_are_held_while_the_key_is_gone(pair: Path, tmp_path: Path) -> None:
    for name in ("key.pem", "crt.pem"):
        (tmp_path / name).write_bytes((pair / name).read_bytes())
    async with http_server() as server:
        server.script = [TOKEN]
        output = HttpOutput(options_from(HttpOptions, lines(server.port, tmp_path), "output"), context_of("output"))
        await output.open()
        delivery = Delivery("", [batch_of("a")])
        (tmp_path / "key.pem").rename(tmp_path / "away")
        with pytest.raises(RetryLater, match="no access token"):
            await output.send(delivery)
        (tmp_path / "away").rename(tmp_path / "key.pem")
        await output.send(delivery)
        await output.close()

    assert delivery.accepted == 1


@pytest.mark.parametrize("missing", ["oauth2.client_id", "oauth2.jwt_key_file", "oauth2.jwt_cert_file"])
def test_what_a_statement_needs_is_asked_for(pair: Path, missing: str) -> None:
    text = "\n".join(line for line in lines(1, pair).splitlines() if not line.startswith(missing))
    with pytest.raises(ConfigError, match=missing):
        options_from(HttpOptions, text, "output")
