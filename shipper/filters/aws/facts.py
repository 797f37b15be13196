"""What is learned of the instance, piece by piece; what could not be had is asked for again later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import quote

import msgspec

from ...clock import Clock
from ...log import Log
from .imds import Failed, Imds, NotFound

_MOST_TAGS = 100
_META = "/latest/meta-data"
_PATHS: Mapping[str, str] = {
    "az": f"{_META}/placement/availability-zone/",
    "ec2_instance_id": f"{_META}/instance-id/",
    "ec2_instance_type": f"{_META}/instance-type/",
    "private_ip": f"{_META}/local-ipv4/",
    "ami_id": f"{_META}/ami-id/",
    "hostname": f"{_META}/hostname/",
}
ORDER = (
    "az",
    "ec2_instance_id",
    "ec2_instance_type",
    "private_ip",
    "vpc_id",
    "ami_id",
    "account_id",
    "hostname",
    "tags",
)
"""The pieces in the order in which records show them."""

Fields = dict[str, str]


class Facts:
    """Asks for the wanted pieces; `known` is what it has learned, by piece.

    A piece is asked for at most once in `retry_s`. `_asked_at` is when that was.
    """

    def __init__(
        self,
        wanted: Sequence[str],
        is_tag_wanted: Callable[[str], bool],
        retry_s: float,
        imds: Imds,
        clock: Clock,
        log: Log,
    ) -> None:
        self._is_tag_wanted = is_tag_wanted
        self._retry_s = retry_s
        self._imds = imds
        self._clock = clock
        self._log = log
        self._missing = list(wanted)
        self._asked_at = float("-inf")
        self.known: dict[str, Fields] = {}

    def is_due(self) -> bool:
        """Whether something is missing and it is time to ask for it."""
        return bool(self._missing) and self._clock.monotonic() - self._asked_at >= self._retry_s

    async def learn(self) -> None:
        """Ask for what is missing, one piece after the other; may wait for a second or two for each, and each tag.

        When nobody is there to ask, the other pieces are not asked for either.
        """
        self._asked_at = self._clock.monotonic()
        missing, self._missing = self._missing, []
        failed: list[str] = []
        is_away = False
        for piece in missing:
            if is_away or not (found := await self._ask(piece)).is_settled:
                failed.append(piece)
                is_away = is_away or found.is_away
            elif found.fields:
                self.known[piece] = found.fields
        self._missing = failed

    async def _ask(self, piece: str) -> _Found:
        try:
            return _Found(await self._asked_for(piece))
        except NotFound:
            if piece == "tags":
                self._log.warning("tags of the instance are not shown to it; none are added")
                return _Found({})
            self._log.error(f"failed to get {piece}: it is not found")
            return _Found({}, is_settled=False)
        except Failed as error:
            self._log.error(f"failed to get {piece}", reason=error)
            return _Found({}, is_settled=False, is_away=error.is_away)

    def _asked_for(self, piece: str) -> Awaitable[Fields]:
        special = {"vpc_id": self._vpc, "account_id": self._account, "tags": self._tags}.get(piece)
        return special() if special is not None else self._plain(piece)

    async def _plain(self, piece: str) -> Fields:
        return {piece: await self._imds.get(_PATHS[piece])}

    async def _vpc(self) -> Fields:
        mac = (await self._imds.get(f"{_META}/mac/")).strip()
        path = f"{_META}/network/interfaces/macs/{quote(mac, safe=':')}/vpc-id/"
        return {"vpc_id": await self._imds.get(path)}

    async def _account(self) -> Fields:
        text = await self._imds.get("/latest/dynamic/instance-identity/document/")
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise Failed("the identity document is not JSON") from error
        account = document.get("accountId") if isinstance(document, dict) else None
        return {"account_id": account if isinstance(account, str) else "NULL"}

    async def _tags(self) -> Fields:
        """All wanted tags, or none if any of them cannot be had."""
        names = [name for name in (await self._imds.get(f"{_META}/tags/instance")).split("\n") if name]
        wanted = [name for name in names[:_MOST_TAGS] if self._is_tag_wanted(name)]
        try:
            return {name: await self._imds.get(f"{_META}/tags/instance/{quote(name, safe='')}") for name in wanted}
        except NotFound as error:
            raise Failed("a tag is not found") from error


class _Found(msgspec.Struct):
    """What came of a question; one that is not settled is asked again."""

    fields: Fields
    is_settled: bool = True
    is_away: bool = False
