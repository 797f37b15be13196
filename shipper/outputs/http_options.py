"""What outputs that make HTTP requests have in common: options, credentials, headers, and what a status means."""

from __future__ import annotations

import base64
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import msgspec

from ..aws.settings import AwsSettings, NoCredentials
from ..config.options import opt
from ..context import Context
from ..errors import Counts, OptionError, RetryLater
from ..net.retry_after import retry_after_s
from ..net.settings import DEFAULT_IO_TIMEOUT_S, HttpAnswer, HttpApi, HttpSettings, NoAnswer
from .base import NetworkOptions

if TYPE_CHECKING:
    from ..aws.signing import RequestSigner

LANES = 16
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Header(msgspec.Struct, frozen=True):
    """A header of requests, written as `Name Value`."""

    shown_as: ClassVar[str] = "name and value"
    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        name, _, value = text.strip().partition(" ")
        if not value or not _HEADER_NAME.fullmatch(name):
            raise ValueError("a header is written as: Name Value")
        return cls(name, header_value(value.strip()))


class HttpOutputOptions(NetworkOptions):
    """Options of outputs that make HTTP requests, with AWS signatures where they are asked for."""

    http_user: Annotated[str | None, opt("User for basic authentication.")] = None
    http_passwd: Annotated[str, opt("Password for basic authentication.", secret=True)] = ""
    aws_auth: Annotated[bool, opt("Sign requests with AWS credentials.")] = False
    aws_region: Annotated[str | None, opt("AWS region of the service.", example="eu-west-1")] = None
    aws_role_arn: Annotated[str | None, opt("Role to assume with the credentials found.")] = None
    aws_external_id: Annotated[str | None, opt("External id for assuming the role.")] = None
    aws_sts_endpoint: Annotated[str | None, opt("Host or URL of STS to use instead of the region's.")] = None
    aws_profile: Annotated[str | None, opt("Profile of the shared AWS configuration.")] = None

    def aws_settings(self) -> AwsSettings:
        """The part of the options that signatures are made with."""
        region = self.aws_region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise OptionError("aws_region", "is required with aws_auth", "for example: aws_region eu-west-1")
        return AwsSettings(
            region=region,
            profile=self.aws_profile,
            role_arn=self.aws_role_arn,
            external_id=self.aws_external_id,
            sts_endpoint=self.aws_sts_endpoint,
            use_proxy=not self.proxy_env_ignore,
            io_timeout=float(self.io_timeout) or DEFAULT_IO_TIMEOUT_S,
        )


class Verdict(Enum):
    """What the status of an answer means for the whole request."""

    ACCEPTED = auto()

    TOO_LARGE = auto()
    """Send it in two parts."""

    DENIED = auto()
    """Address or credentials are wrong; hold everything until they are mended."""

    LATER = auto()

    REFUSED = auto()
    """It will never be taken."""


def verdict_on(status: int) -> Verdict:
    """What this status means; 200 to 205 is success."""
    if 200 <= status <= 205:
        return Verdict.ACCEPTED
    if status == 413:
        return Verdict.TOO_LARGE
    if status in (401, 403, 404, 407):
        return Verdict.DENIED
    return Verdict.REFUSED if 400 <= status < 500 and status not in (408, 429) else Verdict.LATER


def counts_of(status: int) -> Counts:
    """Whether a failure with this status counts against `retry_limit`."""
    if verdict_on(status) is Verdict.DENIED:
        return Counts.NEVER
    return Counts.WITHOUT_PROGRESS if status == 429 else Counts.ALWAYS


class Requests:
    """Makes the requests of one output: signed if asked for, counted, and `RetryLater` where there is no answer."""

    def __init__(self, http: HttpApi, context: Context, signer: Signer | None = None) -> None:
        self._http = http
        self._context = context
        self._signer = signer

    async def make(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Make a request and wait for its answer; raises `RetryLater` if there is none."""
        try:
            if self._signer is not None:
                headers = await self._signer.signed(method, target, headers, body)
            answer = await self._http.request(method, target, headers, body)
        except NoCredentials as error:
            self._context.log.error(f"no AWS credentials: {error}; records are held", every=60)
            raise RetryLater(f"no AWS credentials: {error}", counts=Counts.NEVER) from error
        except NoAnswer as error:
            self._context.counter("no_answer_total", phase=error.phase).add()
            raise RetryLater(error.reason) from error
        self._context.counter("answers_total", status=str(answer.status)).add()
        return answer

    def later(self, answer: HttpAnswer) -> RetryLater:
        """The error to raise for an answer that says: not now."""
        said = f"status {answer.status}: {words_of(answer)}"
        if verdict_on(answer.status) is Verdict.DENIED:
            if self._signer is not None:
                self._signer.forget_credentials()
            self._context.log.error(
                f"the server does not take requests, status {answer.status}; records are held", every=60, reason=said
            )
        wish = retry_after_s(answer.headers.get("retry-after"), self._context.clock.time_ns() / 1e9)
        return RetryLater(said, wish, counts_of(answer.status))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


class Signer:
    """Signs requests to one server."""

    def __init__(self, signer: RequestSigner, base_url: str) -> None:
        self._signer = signer
        self._base_url = base_url

    async def signed(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers with the signature; waits for credentials and raises `NoCredentials` if there are none."""
        return await self._signer.signed(method, self._base_url + target, headers, body)

    def forget_credentials(self) -> None:
        """Look through all sources of credentials again at the next request."""
        self._signer.forget_credentials()


async def open_requests(settings: HttpSettings, options: HttpOutputOptions, context: Context, service: str) -> Requests:
    """What makes the requests, ready; libraries are loaded only now, so that a dry run needs none of them."""
    from ..net.http import HttpClient

    http = HttpClient(settings, context.clock, context.log)
    await http.open()
    context.count_connections(lambda: http.connections)
    if not options.aws_auth:
        return Requests(http, context)
    from ..aws.signing import RequestSigner

    signer = RequestSigner(service, options.aws_settings())
    signer.open()
    scheme = "http" if settings.tls is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Requests(http, context, Signer(signer, f"{scheme}://{host}:{settings.port}"))


def basic_authorization(user: str, password: str) -> str:
    """The value of the header `Authorization`."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def merged_headers(
    own: Mapping[str, str], added: Iterable[tuple[str, str]], *, keep_repeated: bool = True
) -> dict[str, str]:
    """Our headers and those of the user, which win.

    Several of one name become one whose values are separated by commas, which means the same, or else the last counts.
    """
    names = {name.lower(): name for name in own}
    headers, given = dict(own), set[str]()
    for name, value in added:
        key = name.lower()
        present = headers.pop(names.get(key, name), None)
        names[key] = name
        headers[name] = f"{present}, {value}" if keep_repeated and key in given and present is not None else value
        given.add(key)
    return headers


def header_value(text: str) -> str:
    """The text without what would end a header."""
    return _UNPRINTABLE.sub(" ", text).strip()


def is_header_name(name: str) -> bool:
    """Whether a header may be called so."""
    return _HEADER_NAME.fullmatch(name) is not None


def checked_target(option: str, text: str) -> str:
    """A path with a slash in front; raises `OptionError` for what cannot stand in a request."""
    target = text if text.startswith("/") else f"/{text}"
    if any(c.isspace() or not c.isprintable() for c in target):
        raise OptionError(option, f"{text!r} is not a path")
    return target


def lane_of(tag: str, lanes: int = LANES) -> int:
    """One of so many lanes: a tag keeps its order, and thousands of tags do not make thousands of requests."""
    # The low bits of a CRC alone are the same for many tags that differ in one digit; a prime mixes in the others.
    return zlib.crc32(tag.encode("utf-8", "surrogateescape")) % 65_521 % lanes


def words_of(answer: HttpAnswer) -> str:
    """The beginning of what a server says."""
    return " ".join(answer.text[:300].split())
