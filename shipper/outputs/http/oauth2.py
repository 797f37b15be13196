"""Access tokens by OAuth 2 client credentials: fetched when needed, kept until shortly before their end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from ...context import Context
from ...errors import Counts, OptionError, RetryLater
from ...net.settings import DEFAULT_IO_TIMEOUT_S, HttpApi, HttpSettings, NetworkChoices, NoAnswer, http_settings
from ..http_options import basic_authorization, words_of
from .assertion import ASSERTION_TYPE, AssertionMaker, AssertionSettings

_USUAL_LIFE_S = 300.0
_decode = msgspec.json.Decoder(dict[str, object]).decode


class OAuth2Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks whom for a token, and for what.

    With `in_body` id and secret do not go into a header, with `assertion` a signed statement takes their place.
    `timeout_s` bounds a request for a token, `connect_timeout_s` the wait for a connection.
    """

    token_url: str
    client_id: str = ""
    client_secret: str = ""
    fields: Mapping[str, str | None] = {}
    in_body: bool = False
    assertion: AssertionSettings | None = None
    refresh_skew_s: float = 60.0
    timeout_s: float = DEFAULT_IO_TIMEOUT_S
    connect_timeout_s: float = 10.0


class OAuth2:
    """The access token of the moment. Only one request for a token is under way at a time."""

    def __init__(self, settings: OAuth2Settings, network: NetworkChoices, context: Context) -> None:
        self._settings = settings
        self._network = network
        self._context = context
        self._assertions = AssertionMaker(settings.assertion) if settings.assertion is not None else None
        self._http: HttpApi | None = None
        self._target = "/"
        self._lock = asyncio.Lock()
        self._token = ""
        self._good_until = 0.0

    async def open(self) -> None:
        """Get ready; raises `OptionError` for a URL, or files, that cannot be used."""
        from ...net.http import HttpClient

        if self._assertions is not None:
            self._assertions.check()
        connection, self._target = _server_of(self._settings, self._network)
        self._http = HttpClient(connection, self._context.clock, self._context.log)
        await self._http.open()

    async def token(self) -> str:
        """A token that is good now; waits for a new one if need be, and raises `RetryLater` if there is none."""
        async with self._lock:
            if not self._token or self._context.clock.monotonic() >= self._good_until:
                await self._fetch()
        return self._token

    def forget(self) -> None:
        """The token is no good any more: the next request gets a new one."""
        self._token = ""

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def _fetch(self) -> None:
        if self._http is None:
            raise RuntimeError("the tokens are not open")
        settings = self._settings
        fields, headers = self._request()
        try:
            answer = await self._http.request("POST", self._target, headers, urlencode(fields).encode())
        except NoAnswer as error:
            raise RetryLater(f"no access token: {error.reason}", counts=Counts.NEVER) from error
        try:
            told = _decode(answer.body) if answer.status == 200 else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            told = {}
        token, life = told.get("access_token"), told.get("expires_in")
        if not isinstance(token, str) or not token.isprintable() or not token:
            self._context.log.error("no access token is given out; records are held", every=60, status=answer.status)
            raise RetryLater(f"no access token: status {answer.status}: {words_of(answer)}", counts=Counts.NEVER)
        life_s = float(life) if isinstance(life, (int, float)) and life > 0 else _USUAL_LIFE_S
        self._token = token
        # A life shorter than the margin is used up to its half.
        self._good_until = self._context.clock.monotonic() + max(life_s - settings.refresh_skew_s, life_s / 2)

    def _request(self) -> tuple[dict[str, str], dict[str, str]]:
        """Fields and headers of a request for a token; raises `RetryLater` if it cannot be signed."""
        settings = self._settings
        fields = {"grant_type": "client_credentials", **{k: v for k, v in settings.fields.items() if v}}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._assertions is not None:
            try:
                assertion = self._assertions.make(self._context.clock.time_ns() // 1_000_000_000)
            except (OSError, ValueError) as error:
                self._context.log.error("no access token can be asked for; records are held", every=60, reason=error)
                raise RetryLater(f"no access token: {error}", counts=Counts.NEVER) from error
            fields["client_id"] = settings.client_id
            fields |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        elif settings.in_body:
            fields |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        else:
            pair = quote(settings.client_id, safe=""), quote(settings.client_secret, safe="")
            headers["Authorization"] = basic_authorization(*pair)
        return fields, headers


def _server_of(chosen: OAuth2Settings, network: NetworkChoices) -> tuple[HttpSettings, str]:
    """The server that gives out tokens as client settings, and the target of requests."""
    url = chosen.token_url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OptionError("oauth2.token_url", f"{url!r} is not a URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionError("oauth2.token_url", f"{url!r} is not a URL", "write https://host/path")
    is_tls = parts.scheme == "https"
    settings = http_settings(
        network, parts.hostname, port or (443 if is_tls else 80), tls=is_tls, io_timeout=chosen.timeout_s
    )
    settings = msgspec.structs.replace(settings, connect_timeout=chosen.connect_timeout_s)
    return settings, f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
