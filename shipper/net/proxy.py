"""Which proxy a request goes through, by the environment variables that everybody knows."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

import msgspec


class Proxy(msgspec.Struct, frozen=True):
    """A proxy; `authorization` is the header it wants, if any. Its text shows no secret."""

    host: str
    port: int
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_for(host: str, *, tls: bool, variables: Mapping[str, str]) -> Proxy | None:
    """The proxy for a host: HTTPS_PROXY for TLS, otherwise (and without it) HTTP_PROXY, unless NO_PROXY names the host.

    Names in lower case win. Raises `ValueError` for a value that is no proxy.
    """
    names = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY") if tls else ("http_proxy", "HTTP_PROXY")
    url = next((variables[name] for name in names if variables.get(name)), "")
    exceptions = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    if not url or is_exempt(host, exceptions):
        return None
    try:
        return parse_proxy(url)
    except ValueError as error:
        raise ValueError(f"the proxy in the environment {error}") from error


def parse_proxy(url: str) -> Proxy:
    """The proxy that is written as http://user:password@host:port; raises `ValueError` for anything else."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("must be written as http://host:port")
    authorization = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(parts.hostname, parts.port or 80, authorization)


def is_exempt(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY names the host: exactly, by a domain it is in, by a network, or with a star."""
    name = host.lower().rstrip(".")
    for item in exceptions.lower().replace(",", " ").split():
        domain = item.removeprefix("*").lstrip(".").partition(":")[0] if item.count(":") == 1 else item.lstrip("*.")
        if item == "*" or name == domain or (domain and name.endswith("." + domain)) or _is_inside(name, item):
            return True
    return False


def _is_inside(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
