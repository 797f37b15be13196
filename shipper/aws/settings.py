"""What an AWS client is told and what it answers, for modules that must not import aiobotocore."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..errors import OptionError
from ..net.settings import TcpKeepalive, TlsSettings

_DENIED = re.compile(
    "InvalidClientTokenId|AccessDenied|Expired|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|InvalidSecurity"
    "|TokenRefreshRequired|InvalidSignature|IncompleteSignature|MissingAuthenticationToken|UnrecognizedClientException"
    "|RequestTimeTooSkewed",
    re.IGNORECASE,
)
_THROTTLED = re.compile("Throttl|TooManyRequests|LimitExceeded|ThroughputExceeded|SlowDown", re.IGNORECASE)
_WRONG_CLOCK = re.compile("RequestTimeTooSkewed|RequestExpired|Signature (?:expired|not yet current)", re.IGNORECASE)

_LONGEST_WORDS = 300

_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
)
"""What the names of hosts end with, by the beginning of the region."""

_OWN_SUFFIXES = ("amazonaws.com", "api.aws", "api.amazonwebservices.com.cn", *(suffix for _, suffix in _SUFFIXES))


_ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
_NAMES_IN_VARIABLES: Mapping[str, str] = {"logs": "CLOUDWATCH_LOGS"}
"""What services are called in variables, where that is not the name that their hosts have."""


class AwsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls go, how long they may take, and who makes them.

    `io_timeout` bounds a whole call; getting credentials may take as long. `tls` counts where the endpoint speaks TLS,
    and never for STS, whose certificate is always checked. `use_proxy` also counts for STS. `user_agent` ends the
    User-Agent. With `credentials_endpoint` credentials come from this URL, as a container gets them, and from nowhere
    else.
    """

    region: str
    endpoint_url: str | None = None
    tls: TlsSettings = TlsSettings(verify_hostname=True)
    connect_timeout: float = 10.0
    io_timeout: float = 60.0
    keepalive: bool = True
    idle_timeout: float = 30.0
    requests_each: int = 0
    tcp_keepalive: TcpKeepalive | None = None
    connections: int = 16
    source_address: str | None = None
    use_proxy: bool = True
    user_agent: str = ""
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    sts_endpoint: str | None = None
    credentials_endpoint: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a call returned: the parsed body, and the id without which AWS answers nothing."""

    body: dict[str, Any]
    request_id: str | None


class AwsError(Exception):
    """AWS answered a call with an error: its code, status, own words, and fields such as expectedSequenceToken."""

    def __init__(
        self, code: str, status: int, message: str, *, after: float | None = None, fields: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.status = status
        self.message = message
        self.after = after
        self.fields = fields or {}


class NoAnswer(Exception):
    """AWS could not be reached, or the connection ended before it answered."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


class NoCredentials(Exception):
    """There is nothing to sign a call with: no source has credentials, or the one chosen does not give them out."""


def one_line(text: str) -> str:
    """What somebody said, fit for a log: short, in one line, without control characters."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST_WORDS])
    return " ".join(shown.split())[:_LONGEST_WORDS]


def is_denied(error: AwsError) -> bool:
    """Whether the credentials are at fault, or the clock by which a call was signed."""
    if not 400 <= error.status < 500 or error.status == 429:
        return False
    # Words of a message may be quoted from what was sent, so they count only where nothing else tells what is wrong.
    has_code = bool(error.code) and not error.code.isdecimal()
    told = error.code if has_code else error.message
    return bool(_DENIED.search(told) or _WRONG_CLOCK.search(told))


def is_throttled(error: AwsError) -> bool:
    """Whether the service only asks for a slower pace."""
    return error.status == 429 or bool(_THROTTLED.search(error.code))


def denial_in(error: AwsError, action: str) -> str:
    """What is wrong with a call that was denied: it was signed by a wrong clock, or the action is not allowed."""
    if _WRONG_CLOCK.search(f"{error.code} {error.message}"):
        return f"signed by a clock that differs too much from that of AWS: {action}"
    return f"not allowed: {action}"


def service_host(service: str, region: str) -> str:
    """The host of a service in a region."""
    suffix = next((s for prefix, s in _SUFFIXES if region.startswith(prefix)), "amazonaws.com")
    return f"{service}.{region}.{suffix}"


def is_aws_host(host: str) -> bool:
    """Whether the name belongs to AWS: a regional one, one of a VPC endpoint, FIPS or dual-stack."""
    return host.lower().endswith(tuple(f".{suffix}" for suffix in _OWN_SUFFIXES))


def service_url(service: str, region: str) -> str:
    """Where a service is in a region, or where the environment says."""
    return configured_endpoint(service) or f"https://{service_host(service, region)}"


def configured_endpoint(service: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The URL that the environment names for a service or for all of them, as botocore reads it.

    Raises `OptionError` for one that cannot be read.
    """
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    own_variable = f"{_ENDPOINT_VARIABLE}_{_NAMES_IN_VARIABLES.get(service, service.upper())}"
    for variable in (own_variable, _ENDPOINT_VARIABLE):
        if endpoint := environment.get(variable):
            try:
                return url_of(endpoint)
            except ValueError as error:
                remedy = f"mend the environment variable {variable}, or set endpoint"
                raise OptionError("endpoint", f"{variable}: {error}", remedy) from error
    return None


def url_of(endpoint: str, port: int | None = None, *, tls: bool = True) -> str:
    """The URL of an endpoint written as host, host:port, http://… or https://….

    A scheme and a port in the endpoint win over `tls` and `port`. Raises `ValueError` with words for the user.
    """
    text = endpoint.strip()
    if "://" not in text:
        scheme = "https" if tls else "http"
        text = f"{scheme}://[{text}]" if text.count(":") > 1 and not text.startswith("[") else f"{scheme}://{text}"
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{endpoint!r} has the unknown scheme {parts.scheme!r}")
    if not parts.hostname or parts.username or parts.query or parts.fragment or any(c.isspace() for c in text):
        raise ValueError(f"{endpoint!r} is not a host")
    number = parts.port or port  # `parts.port` raises ValueError for what is no port
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{number}' if number else ''}{parts.path.rstrip('/')}"
