"""Names, proxies, TLS files and the header Retry-After."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import OptionError
from shipper.log import Log
from shipper.net.names import HostNames, in_turns
from shipper.net.proxy import Proxy, proxy_for
from shipper.net.retry_after import retry_after_s
from shipper.net.settings import TlsSettings
from shipper.net.tls import TlsContext, new_context
from shipper.testing import ManualClock

from .test_http import certificate

LOG = Log("[test] ")


class Resolver:
    """Answers from a script; keeps how often it was asked."""

    def __init__(self, *script: list[str] | OSError) -> None:
        self._script = list(script)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[Any]:
        self.asked += 1
        step = self._script.pop(0)
        if isinstance(step, OSError):
            raise step
        return [(None, None, None, "", (address, port)) for address in step]


async def test_the_last_good_answer_is_used_while_the_resolver_fails() -> None:
    clock, resolver = ManualClock(), Resolver(["10.0.0.1"], socket.gaierror(-3, "try again"), ["10.0.0.2"])
    names = HostNames("loki", 80, clock, LOG, resolver)
    found = []
    for _ in range(4):
        found.append(await names.addresses(1.0))
        await clock.advance(6)
    await clock.advance(6)
    found.append(await names.addresses(1.0))

    assert found == [["10.0.0.1"]] * 4 + [["10.0.0.2"]]
    assert resolver.asked == 3


async def test_a_name_that_was_never_known_fails() -> None:
    names = HostNames("loki", 80, ManualClock(), LOG, Resolver(socket.gaierror(-2, "not known")))
    with pytest.raises(OSError, match="not known"):
        await names.addresses(1.0)


async def test_after_a_failed_connection_the_name_is_looked_up_at_once() -> None:
    resolver = Resolver(["10.0.0.1"], ["10.0.0.2"])
    names = HostNames("loki", 80, ManualClock(), LOG, resolver)
    first = await names.addresses(1.0)
    names.doubt()

    assert (first, await names.addresses(1.0)) == (["10.0.0.1"], ["10.0.0.2"])


def test_families_take_turns() -> None:
    assert in_turns(["a:1", "a:2", "1.1", "1.2", "1.3", "a:1"]) == ["a:1", "1.1", "a:2", "1.2", "1.3"]


@pytest.mark.parametrize(
    ("host", "tls", "variables", "expected"),
    [
        ("a.b", False, {}, None),
        ("a.b", False, {"HTTP_PROXY": "http://p:3128"}, Proxy("p", 3128)),
        ("a.b", False, {"HTTPS_PROXY": "http://p:3128"}, None),
        ("a.b", True, {"HTTPS_PROXY": "p:1", "HTTP_PROXY": "q:2"}, Proxy("p", 1)),
        ("a.b", True, {"HTTP_PROXY": "q:2"}, Proxy("q", 2)),
        ("a.b", False, {"HTTP_PROXY": "p", "http_proxy": "q"}, Proxy("q", 80)),
        ("a.b", False, {"HTTP_PROXY": "p", "NO_PROXY": "x, a.b"}, None),
        ("x.a.b", False, {"HTTP_PROXY": "p", "NO_PROXY": ".a.b"}, None),
        ("xa.b", False, {"HTTP_PROXY": "p", "NO_PROXY": "a.b"}, Proxy("p", 80)),
        ("10.1.2.3", False, {"HTTP_PROXY": "p", "NO_PROXY": "10.0.0.0/8"}, None),
        ("a.b", False, {"HTTP_PROXY": "p", "NO_PROXY": "*"}, None),
        ("::1", False, {"HTTP_PROXY": "p", "NO_PROXY": "::1"}, None),
    ],
)
def test_which_proxy(host: str, tls: bool, variables: dict[str, str], expected: Proxy | None) -> None:
    assert proxy_for(host, tls=tls, variables=variables) == expected


def test_a_proxy_that_cannot_be_used_is_told_without_its_secret() -> None:
    with pytest.raises(ValueError, match="written as") as failure:
        proxy_for("a", tls=False, variables={"HTTP_PROXY": "socks5://me:secret@p:1"})

    assert "secret" not in str(failure.value)
    assert "c2VjcmV0" not in repr(Proxy("p", 1, "Basic c2VjcmV0"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("1.5", 1.5),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("soon", None),
        ("99999999", 86400.0),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, 1_700_000_000.0) == expected


async def test_tls_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path, "first")
    clock = ManualClock()
    tls = TlsContext(TlsSettings(verify=False, crt_file=str(crt), key_file=str(key)), clock, LOG)
    first = tls.current()
    crt.write_text("broken")
    await clock.advance(2)
    while_broken = tls.current()
    new_crt, new_key = certificate(tmp_path, "second")
    os.replace(new_crt, crt)
    os.replace(new_key, key)
    await clock.advance(2)

    assert while_broken is first
    assert tls.current() is not first


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        (TlsSettings(ca_file="/nowhere"), "tls.ca_file"),
        (TlsSettings(crt_file="/nowhere"), "tls.crt_file"),
        (TlsSettings(ca_path="/nowhere"), "tls.ca_path"),
        (TlsSettings(min_version="0.9"), "tls.min_version"),
        (TlsSettings(ciphers="no such cipher"), "tls.ciphers"),
        (TlsSettings(ca_file=__file__), "tls.ca_file"),
    ],
)
def test_what_cannot_be_used_is_named(settings: TlsSettings, option: str) -> None:
    with pytest.raises(OptionError) as failure:
        new_context(settings)

    assert failure.value.option == option


@pytest.mark.parametrize("text", ["1.2", "TLSv1.2", "tls1.2", "tlsv1_2"])
def test_versions_are_written_in_many_ways(text: str) -> None:
    assert new_context(TlsSettings(verify=False, min_version=text)).minimum_version.name == "TLSv1_2"
