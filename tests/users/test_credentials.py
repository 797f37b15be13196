"""Users' rows A1 to A4: credentials that end, change, are refused or come from an IPv6 address cost no record.

What is told of a missing permission, for CloudWatch Logs, is in `test_monitoring`; what the doctor tells of credentials
is in `test_doctor`.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest

from tests.outputs.s3.server import Fault, SmallS3, s3

from .cloudwatch import CREDENTIALS, OK, Answer, CloudWatch
from .storing import Station
from .test_monitoring import QUICK, RED_S, Api

__all__ = ["s3"]

_ROLE = "arn:aws:iam::123456789012:role/pod"


@pytest.fixture(autouse=True)
def no_other_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this machine are not to be found."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


class Keys:
    """Gives out keys that live `life_s` to those who show a valid token, as STS and as the endpoint of a container.

    `asked` counts the requests and `refused` those that got nothing; with `is_down` nobody gets anything. The last two
    tokens are valid: whoever has read one must have the time to show it. Without any, none is wanted.
    """

    def __init__(self, life_s: float, tokens: list[str] | None = None) -> None:
        self.life_s = life_s
        self.tokens = tokens if tokens is not None else []
        self.is_down = False
        self.asked = 0
        self.refused = 0
        self._ends: dict[str, float] = {}

    def give(self, token: str) -> tuple[str, str] | None:
        """A new key and when it ends, None if there is none."""
        self.asked += 1
        if self.is_down or (self.tokens and token not in self.tokens[-2:]):
            self.refused += 1
            return None
        key = f"ASIA{self.asked:012}"
        self._ends[key] = time.time() + self.life_s
        return key, (datetime.now(UTC) + timedelta(seconds=self.life_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def judge(self, service: CloudWatch) -> Answer:
        """What a service answers to a request that is signed with some key."""
        if time.time() < self._ends.get(service.signed_with, 0.0):
            return OK
        return Answer(400, "ExpiredTokenException", "The security token included in the request is expired")


@contextmanager
def serving(keys: Keys, address: str = "127.0.0.1") -> Iterator[str]:
    """The URL where the keys can be had."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server_class = type("Server", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
    server = server_class((address, 0), _handler_of(keys))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{f'[{address}]' if ':' in address else address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler_of(keys: Keys) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = keys.give(self.headers.get("Authorization", ""))
            if given is None:
                self._say(403 if not keys.is_down else 500, b"{}")
                return
            told = {"AccessKeyId": given[0], "SecretAccessKey": "b", "Token": "c", "Expiration": given[1]}
            self._say(200, msgspec.json.encode(told))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            action = form["Action"][0]
            given = keys.give(form.get("WebIdentityToken", [""])[0])
            if given is None:
                self._say(400, b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>")
                return
            self._say(
                200,
                (
                    f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
                    f"<AccessKeyId>{given[0]}</AccessKeyId><SecretAccessKey>b</SecretAccessKey>"
                    f"<SessionToken>c</SessionToken><Expiration>{given[1]}</Expiration></Credentials>"
                    f"<AssumedRoleUser><Arn>{_ROLE}</Arn><AssumedRoleId>x:y</AssumedRoleId></AssumedRoleUser>"
                    f"</{action}Result></{action}Response>"
                ).encode(),
            )

        def _say(self, status: int, text: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    return Handler


def of_a_container(url: str, token: Path) -> dict[str, str]:
    """How a pod is told of its keys by EKS Pod Identity."""
    named = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/keys"}
    return named | ({"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)} if token.exists() else {})


def of_a_service_account(url: str, token: Path) -> dict[str, str]:
    """How a pod is told of its keys by IAM roles for service accounts."""
    token.touch()
    return {
        "AWS_ROLE_ARN": _ROLE,
        "AWS_ROLE_SESSION_NAME": "node-1",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL_STS": url,
    }


WAYS = pytest.mark.parametrize("way", [of_a_container, of_a_service_account])
Way = Callable[[str, Path], dict[str, str]]


def judged_by(keys: Keys) -> CloudWatch:
    """A service that takes what is signed with keys that have not ended."""
    service = CloudWatch()
    service.decide = lambda operation, body: keys.judge(service)
    return service


@WAYS
def test_a1_keys_of_eight_minutes_are_used_until_they_end(tmp_path: Path, way: Way) -> None:
    """Half of the time nobody gives out others, which is no trouble as long as those at hand are good."""
    token = tmp_path / "token"
    token.write_text("token")
    keys = Keys(8 * 60)
    with (
        serving(keys) as url,
        judged_by(keys) as service,
        Station(tmp_path, (), sections=service.output(), variables=way(url, token)) as station,
    ):
        log = station.log()
        station.start()
        for number in range(20):
            keys.is_down = number >= 10
            log.write(10)
            station.until(lambda: len(service.all_messages()) >= log.written)
        station.stop()

        assert station.told("failed to flush|no AWS credentials|Traceback") is None
        assert (keys.asked, keys.refused) == (1, 0)
        assert service.all_messages() == log.path.read_text().splitlines()


@WAYS
def test_a2_the_token_file_is_read_again_whenever_keys_are_fetched(tmp_path: Path, way: Way) -> None:
    """Scale 1 to 3600: the file is another one each second, and keys live for five."""
    token, tokens = tmp_path / "token", ["token-0"]
    token.write_text(tokens[0])
    keys, used = Keys(5, tokens), set[str]()
    with (
        serving(keys) as url,
        judged_by(keys) as service,
        Station(tmp_path, (), sections=service.output(), variables=way(url, token)) as station,
    ):
        log = station.log()
        station.start()
        for number in range(1, 7):
            tokens.append(f"token-{number}")
            (tmp_path / "new").write_text(tokens[-1])
            (tmp_path / "new").rename(token)
            for _ in range(5):
                log.write(10)
                time.sleep(0.2)
            used.add(service.signed_with)
        station.until(lambda: len(service.all_messages()) >= log.written)
        ledger = station.stop()

        assert station.told("failed to flush|no AWS credentials|Traceback") is None
        assert keys.refused == 0
        assert len(used) >= 3
        assert service.all_messages() == log.path.read_text().splitlines()
        assert ledger["cw"]["dropped"] == 0


def test_a3_what_a_bucket_does_not_allow_is_named_and_held_until_it_does(tmp_path: Path, s3: SmallS3) -> None:
    """Until the health has told it, which takes a fifteenth of a minute; what is given up otherwise is held here."""
    body = b"<Error><Code>AccessDenied</Code><Message>User: x is not authorized</Message></Error>"
    s3.fail("PutObject", *[Fault(403, body)] * 1000)
    section = (
        f"[OUTPUT]\n    name s3\n    alias bucket\n    match *\n    bucket b\n    endpoint {s3.url}\n"
        f"    store_dir {tmp_path}/store\n    total_file_size 1M\n    upload_timeout 1s\n    log_key log\n"
        "    retry_limit no_retries\n    retry_exhausted_action delete\n"
    )
    with Station(tmp_path, (), service=QUICK, sections=section, variables=CREDENTIALS) as station:
        log = station.log()
        station.start()
        api = Api(station)
        log.write(100)
        station.until_told(r"not allowed: s3:PutObject on bucket b; records are held.*User: x is not authorized")
        api.until_health(500, RED_S)
        reason = api.get("/api/v1/health")[1]
        s3.heal()
        api.until_health(200, 30.0)
        station.until(lambda: len(s3.lines()) == 100)
        ledger = station.stop()

        assert "output bucket: nothing accepted" in reason
        assert "not allowed: s3:PutObject on bucket b" in reason and "User: x is not authorized" in reason
        assert s3.lines() == log.path.read_text().splitlines()
        assert (ledger["bucket"]["delivered"], ledger["bucket"]["dropped"]) == (100, 0)


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").read_text(), reason="no IPv6 here")
def test_a4_keys_come_from_an_ipv6_address(tmp_path: Path) -> None:
    keys = Keys(3600)
    with serving(keys, "::1") as url, judged_by(keys) as service:
        variables = of_a_container(url, tmp_path / "no-token")
        station = Station(tmp_path, (), sections=service.output(), variables=variables)
        with station:
            log = station.log()
            station.start()
            log.write(100)
            station.until(lambda: len(service.all_messages()) >= 100)
            station.stop()

            assert url.startswith("http://[::1]:")
            assert keys.asked == 1
            assert service.all_messages() == log.path.read_text().splitlines()
