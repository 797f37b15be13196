"""Questions to the metadata service of an EC2 instance."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from ...clock import Clock
from ...log import Log
from ...net.http import HttpClient
from ...net.settings import HttpAnswer, HttpSettings, NoAnswer

TIMEOUT_S = 1.0
_TOKEN_TTL_S = "21600"
_LONGEST_ANSWER = 65_536
_USUAL_HOST = "169.254.169.254"


class NotFound(Exception):
    """The service answers that there is no such thing."""


class Failed(Exception):
    """There is no answer, or none that helps. `is_away` says that nobody is there to ask."""

    def __init__(self, reason: str, *, is_away: bool = False) -> None:
        super().__init__(reason)
        self.is_away = is_away


class Imds:
    """The metadata service; in version 2 each question carries a token, which is renewed when it is refused."""

    def __init__(self, *, has_tokens: bool, clock: Clock, log: Log, variables: Mapping[str, str] = os.environ) -> None:
        host, port = _place(variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", ""))
        self._client = HttpClient(
            HttpSettings(
                host=host,
                port=port,
                connect_timeout=TIMEOUT_S,
                io_timeout=2 * TIMEOUT_S,
                keepalive=False,
                use_proxy=False,
                answer_limit=_LONGEST_ANSWER,
            ),
            clock,
            log,
        )
        self._has_tokens = has_tokens
        self._token: str | None = None

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def get(self, path: str) -> str:
        """The text at a path; raises `NotFound` or `Failed` after two seconds at most."""
        if self._has_tokens and self._token is None:
            self._token = await self._new_token()
        answer = await self._request("GET", path, self._headers())
        if answer.status == 401 and self._has_tokens:
            self._token = await self._new_token()
            answer = await self._request("GET", path, self._headers())
        if answer.status == 404:
            raise NotFound(path)
        if answer.status != 200:
            raise Failed(f"{path} is answered with status {answer.status}")
        return answer.text

    async def _new_token(self) -> str:
        answer = await self._request("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_TTL_S})
        token = answer.text.strip()
        if answer.status != 200 or not token.isprintable():
            raise Failed(f"no token: status {answer.status}", is_away=True)
        return token

    async def _request(self, method: str, path: str, headers: Mapping[str, str]) -> HttpAnswer:
        try:
            return await self._client.request(method, path, headers)
        except NoAnswer as error:
            raise Failed(error.reason, is_away=True) from error

    def _headers(self) -> dict[str, str]:
        return {"X-aws-ec2-metadata-token": self._token} if self._token else {}


def _place(endpoint: str) -> tuple[str, int]:
    """Host and port of the URL that the SDKs of AWS read from the environment."""
    parts = urlsplit(endpoint)
    return (parts.hostname or _USUAL_HOST, parts.port or 80) if parts.scheme == "http" else (_USUAL_HOST, 80)
