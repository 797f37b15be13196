"""Send records to an HTTP server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Annotated, Literal, cast

from msgspec import field

from ...buffers.base import BatchLimits, Delivery
from ...codecs.compression import compress_gzip, compress_snappy_frames, compress_zstd
from ...codecs.dates import DateFormat
from ...codecs.json_lines import FRAMINGS, Framing, JsonEncoder, as_json_lines
from ...codecs.msgpack_events import encode_events
from ...codecs.template import KeyPath
from ...config.options import opt
from ...config.units import Seconds
from ...context import Context
from ...errors import OptionError, RetryLater
from ...net.settings import DEFAULT_IO_TIMEOUT_S, HttpAnswer, http_settings
from ...record import RecordBatch
from ..base import Output
from ..http_options import (
    Header,
    HttpOutputOptions,
    Requests,
    Verdict,
    basic_authorization,
    checked_target,
    is_header_name,
    lane_of,
    merged_headers,
    open_requests,
    verdict_on,
    words_of,
)
from ..places import RecordsOf, rows_of
from .assertion import AssertionSettings
from .gelf import GelfEncoder, GelfKeys
from .oauth2 import OAuth2, OAuth2Settings
from .requests import Format, Request, SingleValues, WholeBatches

SEARCHES = 64
"""Requests that may be spent in one attempt on finding the records that the server does not like."""

_CONTENT_TYPES = {"json": "application/json", "json_stream": "application/json", "json_lines": "application/x-ndjson"}
_OFF_WORDS = ("false", "off", "no")


class HttpOptions(HttpOutputOptions, kw_only=True):
    """Options of the output `http`."""

    uri: Annotated[str, opt("Path that records are sent to.", example="/in/logs", secret_path=True)] = "/"
    http_method: Annotated[Literal["POST", "PUT"], opt("Method of requests.")] = "POST"
    format: Annotated[str, opt("json, json_lines, json_stream, msgpack or gelf.", example="json_lines")] = "json"
    json_date_key: Annotated[str, opt("Key of the date in JSON; false for no date.")] = "date"
    json_date_format: Annotated[DateFormat, opt("Form of the date in JSON.", example="iso8601")] = "double"
    header: Annotated[tuple[Header, ...], opt("A header to add; may be repeated.", secret=True)] = ()
    header_tag: Annotated[str | None, opt("Header that tells the tag.", example="X-Tag")] = None
    compress: Annotated[
        Literal["gzip", "snappy", "zstd", "none", "off", "false"] | None, opt("Compression of bodies.", example="gzip")
    ] = None
    allow_duplicated_headers: Annotated[bool, opt("Send all values of a repeated header, not the last one alone.")] = (
        True
    )
    log_response_payload: Annotated[bool, opt("Show what the server says when it refuses something.")] = True
    response_timeout: Annotated[Seconds, opt("Longest time for a whole request, if net.io_timeout is not set.")] = (
        field(default=Seconds(60), name="http.response_timeout")
    )
    read_idle_timeout: Annotated[Seconds, opt("Accepted; http.response_timeout bounds the whole.")] = field(
        default=Seconds(0), name="http.read_idle_timeout"
    )
    body_key: Annotated[
        KeyPath | None, opt("Send the value of this field alone, one request for each record.", example="$log")
    ] = None
    headers_key: Annotated[KeyPath | None, opt("Field whose entries become headers, with body_key.")] = None
    aws_service: Annotated[str | None, opt("Service that requests are signed for.", example="aps")] = None
    proxy: Annotated[str | None, opt("Proxy to send through.", example="http://10.0.0.1:3128")] = None
    gelf_timestamp_key: Annotated[str | None, opt("Field with the time of a GELF message.")] = None
    gelf_host_key: Annotated[str, opt("Field with the host of a GELF message.")] = "host"
    gelf_short_message_key: Annotated[str, opt("Field with the text of a GELF message.")] = "short_message"
    gelf_full_message_key: Annotated[str | None, opt("Field with the long text of a GELF message.")] = None
    gelf_level_key: Annotated[str, opt("Field with the level of a GELF message.")] = "level"
    oauth2: Annotated[bool, opt("Get access tokens with OAuth 2 client credentials.")] = field(
        default=False, name="oauth2.enable"
    )
    oauth2_token_url: Annotated[str | None, opt("Where access tokens are given out.", secret_path=True)] = field(
        default=None, name="oauth2.token_url"
    )
    oauth2_client_id: Annotated[str, opt("Who asks for access tokens.")] = field(default="", name="oauth2.client_id")
    oauth2_client_secret: Annotated[str, opt("Secret of the client.", secret=True)] = field(
        default="", name="oauth2.client_secret"
    )
    oauth2_scope: Annotated[str | None, opt("Scope to ask for.")] = field(default=None, name="oauth2.scope")
    oauth2_audience: Annotated[str | None, opt("Audience to ask for.")] = field(default=None, name="oauth2.audience")
    oauth2_resource: Annotated[str | None, opt("Resource to ask for.")] = field(default=None, name="oauth2.resource")
    oauth2_auth_method: Annotated[
        Literal["basic", "post", "private_key_jwt"],
        opt("Whether id and secret go into a header or into the body, or a signed statement takes their place."),
    ] = field(default="basic", name="oauth2.auth_method")
    oauth2_jwt_key_file: Annotated[
        str | None, opt("RSA key for private_key_jwt, in PEM; it needs the extra 'oauth2'.")
    ] = field(default=None, name="oauth2.jwt_key_file")
    oauth2_jwt_cert_file: Annotated[str | None, opt("Certificate of that key, in PEM or DER.")] = field(
        default=None, name="oauth2.jwt_cert_file"
    )
    oauth2_jwt_aud: Annotated[str | None, opt("Whom the statement is for; oauth2.token_url if not set.")] = field(
        default=None, name="oauth2.jwt_aud"
    )
    oauth2_jwt_header: Annotated[str, opt("Member that tells the certificate: kid, x5t or x5t#S256.")] = field(
        default="kid", name="oauth2.jwt_header"
    )
    oauth2_jwt_ttl: Annotated[int, opt("Seconds for which a statement is good.")] = field(
        default=300, name="oauth2.jwt_ttl_seconds"
    )
    oauth2_refresh_skew: Annotated[Seconds, opt("Get a new token so long before the old one ends.")] = field(
        default=Seconds(60), name="oauth2.refresh_skew_seconds"
    )
    oauth2_timeout: Annotated[Seconds, opt("Longest wait for a token; 0 for that of requests.")] = field(
        default=Seconds(0), name="oauth2.timeout"
    )
    oauth2_connect_timeout: Annotated[Seconds, opt("Longest wait for a connection; 0 for that of requests.")] = field(
        default=Seconds(0), name="oauth2.connect_timeout"
    )

    def __post_init__(self) -> None:
        self.uri = checked_target("uri", self.uri)
        if self.header_tag is not None and not is_header_name(self.header_tag):
            raise OptionError("header_tag", f"{self.header_tag!r} is not the name of a header")
        if self.aws_auth:
            self.aws_settings()
            if not self.aws_service:
                raise OptionError("aws_service", "is required with aws_auth", "for example: aws_service es")
        if self.oauth2 and not self.oauth2_token_url:
            raise OptionError("oauth2.token_url", "is required with oauth2.enable")
        if self.oauth2 and self.oauth2_auth_method == "private_key_jwt":
            self._check_assertion()

    def headers(self) -> dict[str, str]:
        """The headers that are the same for all requests."""
        headers = {}
        if _is_compressed(self):
            headers["Content-Encoding"] = cast(str, self.compress)
        if self.http_user:
            headers["Authorization"] = basic_authorization(self.http_user, self.http_passwd)
        return {**headers, "User-Agent": "Fluent-Bit"}

    @property
    def request_timeout_s(self) -> float:
        """The longest time for a whole request."""
        return float(self.io_timeout or self.response_timeout) or DEFAULT_IO_TIMEOUT_S

    def oauth2_settings(self) -> OAuth2Settings:
        """The part of the options that concerns access tokens."""
        return OAuth2Settings(
            token_url=self.oauth2_token_url or "",
            client_id=self.oauth2_client_id,
            client_secret=self.oauth2_client_secret,
            fields={"scope": self.oauth2_scope, "audience": self.oauth2_audience, "resource": self.oauth2_resource},
            in_body=self.oauth2_auth_method == "post",
            assertion=self._assertion_settings() if self.oauth2_auth_method == "private_key_jwt" else None,
            refresh_skew_s=float(self.oauth2_refresh_skew),
            timeout_s=float(self.oauth2_timeout) or self.request_timeout_s,
            connect_timeout_s=float(self.oauth2_connect_timeout or self.connect_timeout) or 10.0,
        )

    def _check_assertion(self) -> None:
        for option, value in (
            ("oauth2.client_id", self.oauth2_client_id),
            ("oauth2.jwt_key_file", self.oauth2_jwt_key_file),
            ("oauth2.jwt_cert_file", self.oauth2_jwt_cert_file),
        ):
            if not value:
                raise OptionError(option, "is required with oauth2.auth_method private_key_jwt")

    def _assertion_settings(self) -> AssertionSettings:
        return AssertionSettings(
            client_id=self.oauth2_client_id,
            audience=self.oauth2_jwt_aud or self.oauth2_token_url or "",
            key_file=self.oauth2_jwt_key_file or "",
            certificate_file=self.oauth2_jwt_cert_file or "",
            header=self.oauth2_jwt_header or "kid",
            life_s=self.oauth2_jwt_ttl if self.oauth2_jwt_ttl > 0 else 300,
        )


class HttpOutput(Output):
    """Posts records, those of one tag in order; what is refused costs no more than the records that are to blame."""

    Options = HttpOptions
    limits = BatchLimits(size=1_000_000, records=10_000)
    concurrency = 8

    def __init__(self, options: HttpOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._log = context.log
        self._maker = _request_maker(options, context)
        self._common = options.headers()
        self._compress = _compressor(options)
        self._requests: Requests | None = None
        self._tokens: OAuth2 | None = None

    def lane(self, batch: RecordBatch) -> Hashable:
        return lane_of(batch.tag)

    async def open(self) -> None:
        options = self._options
        port = options.port or (443 if options.tls else 80)
        settings = http_settings(
            options,
            options.host or "127.0.0.1",
            port,
            answer_limit=65_536,
            io_timeout=options.request_timeout_s,
            proxy=options.proxy,
        )
        self._requests = await open_requests(settings, options, self._context, options.aws_service or "")
        if options.oauth2:
            self._tokens = OAuth2(options.oauth2_settings(), options, self._context)
            await self._tokens.open()

    async def send(self, delivery: Delivery) -> None:
        """Send and wait for all answers; after a `RetryLater` what was not accepted goes out again, unchanged."""
        if delivery.progress is None:
            delivery.progress = self._maker.requests(delivery)
        requests: deque[Request] = delivery.progress
        searches = SEARCHES
        while requests:
            request = requests[0]
            answer = await self._post(request)
            verdict = verdict_on(answer.status)
            if verdict in (Verdict.DENIED, Verdict.LATER):
                raise self._later(answer)
            requests.popleft()
            if verdict is Verdict.ACCEPTED:
                delivery.accepted += request.records
            elif request.records > 1 and (verdict is Verdict.TOO_LARGE or searches > 0):
                searches -= verdict is Verdict.REFUSED
                requests.extendleft(reversed(request.halves()))
            else:
                self._refuse(delivery, request, answer)

    def left(self, delivery: Delivery) -> list[list[int]] | None:
        requests: deque[Request] | None = delivery.progress
        return None if requests is None else rows_of(delivery.batches, [p for r in requests for p in r.places])

    async def close(self) -> None:
        if self._requests is not None:
            await self._requests.close()
        if self._tokens is not None:
            await self._tokens.close()

    async def _post(self, request: Request) -> HttpAnswer:
        if self._requests is None:
            raise RuntimeError("the output is not open")
        options = self._options
        common = self._common
        if self._tokens is not None:
            common = {**common, "Authorization": f"Bearer {await self._tokens.token()}"}
        added = [(h.name, h.value) for h in options.header]
        headers = merged_headers({**request.headers, **common}, added, keep_repeated=options.allow_duplicated_headers)
        body = self._compress(request.body)
        return await self._requests.make(options.http_method, options.uri, headers, body)

    def _later(self, answer: HttpAnswer) -> RetryLater:
        if self._requests is None:
            raise RuntimeError("the output is not open")
        if self._tokens is not None and answer.status == 401:
            self._tokens.forget()
        return self._requests.later(answer)

    def _refuse(self, delivery: Delivery, request: Request, answer: HttpAnswer) -> None:
        delivery.refuse(
            request.records,
            f"status_{answer.status}",
            partial(RecordsOf(delivery.batches).at, request.places),
            status=str(answer.status),
            message=words_of(answer),
        )
        said = {"reason": words_of(answer)} if self._options.log_response_payload else {}
        self._log.error(
            f"the server refused records with status {answer.status}", every=10, records=request.records, **said
        )


def _request_maker(options: HttpOptions, context: Context) -> WholeBatches | SingleValues:
    json = JsonEncoder(context.service.escape_unicode)
    if options.body_key is not None:
        return SingleValues(options.body_key, options.headers_key, options.header_tag, json)
    return WholeBatches(_format(options, json, context), options.header_tag)


def _format(options: HttpOptions, json: JsonEncoder, context: Context) -> Format:
    name = options.format.strip().lower()
    if name in FRAMINGS:
        key = None if options.json_date_key.strip().lower() in _OFF_WORDS else options.json_date_key
        date_format = options.json_date_format
        return Format(
            lambda content: json.encode_dated(content, key, date_format),
            FRAMINGS[cast(Framing, name)],
            _CONTENT_TYPES[name],
        )
    if name == "gelf":
        keys = GelfKeys(
            short_message=options.gelf_short_message_key,
            full_message=options.gelf_full_message_key,
            host=options.gelf_host_key,
            level=options.gelf_level_key,
            timestamp=options.gelf_timestamp_key,
        )
        return Format(GelfEncoder(keys, json).encode, as_json_lines, "application/json")
    if name != "msgpack":
        context.log.error("unknown format; records are sent as msgpack", format=options.format)
    return Format(encode_events, b"".join, "application/msgpack")


def _is_compressed(options: HttpOptions) -> bool:
    return options.compress not in (None, "none", "off", "false")


def _compressor(options: HttpOptions) -> Callable[[bytes], bytes]:
    if not _is_compressed(options):
        return bytes
    if options.compress == "snappy":
        return compress_snappy_frames
    return compress_gzip if options.compress == "gzip" else compress_zstd
