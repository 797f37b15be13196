"""One receiver: its connections, which are kept for the next message, and the deadline of each exchange."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ...context import Context
from ...net.settings import ConnectionCount, HttpSettings, NoAnswer
from ...net.stream import Connector
from .messages import Parcel
from .peer import Credentials, Denied, Peer


class ReceiverChoices(Protocol):
    """The options that concern one receiver."""

    @property
    def unix_path(self) -> str | None: ...
    @property
    def shared_key(self) -> str | None: ...
    @property
    def empty_shared_key(self) -> bool: ...
    @property
    def self_hostname(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...


class Receiver:
    """Sends parcels over as many connections as there are parcels under way; `_idle` are those at rest."""

    def __init__(self, settings: HttpSettings, chosen: ReceiverChoices, context: Context) -> None:
        self._settings = settings
        self._log = context.log
        self._clock = context.clock
        self._connector = Connector(settings, context.clock, context.log, chosen.unix_path)
        self._credentials = _credentials(chosen)
        self._idle: list[Peer] = []
        self._busy = 0

    @property
    def connections(self) -> ConnectionCount:
        """The connections to the receiver."""
        return ConnectionCount(self._busy + sum(peer.is_open for peer in self._idle), self._busy)

    def open(self) -> None:
        """Get ready without a word to the receiver; raises `OptionError` for TLS files that cannot be used."""
        self._connector.open()

    async def send(self, parcel: Parcel) -> None:
        """Send a parcel and wait for its acknowledgement, if it wants one; raises `NoAnswer`."""
        limit_s = self._settings.io_timeout
        try:
            async with asyncio.timeout(limit_s):
                peer = self._kept() or await self._connected()
                await self._send(peer, parcel)
        except TimeoutError as error:
            raise NoAnswer("answer", f"{self._connector}: no end within {limit_s:g} seconds", timed_out=True) from error
        except Denied as error:
            self._log.error(f"{self._connector}: {error.reason}; records are held", every=60)
            raise
        peer.parcels += 1
        if self._may_serve_again(peer):
            peer.last_used = self._clock.monotonic()
            self._idle.append(peer)
        else:
            await self._finish(peer)

    async def close(self) -> None:
        """Close the connections at rest."""
        while self._idle:
            await self._finish(self._idle.pop())
        await self._connector.close()

    async def _send(self, peer: Peer, parcel: Parcel) -> None:
        self._busy += 1
        try:
            await peer.send(parcel)
        except BaseException:
            peer.cut()
            raise
        finally:
            self._busy -= 1

    async def _finish(self, peer: Peer) -> None:
        """Close a connection so that what was written still arrives."""
        try:
            async with asyncio.timeout(1.0):
                await peer.close()
        except TimeoutError:
            peer.cut()

    def _may_serve_again(self, peer: Peer) -> bool:
        most = self._settings.requests_each
        return peer.is_open and peer.may_stay and self._settings.keepalive and (not most or peer.parcels < most)

    def _kept(self) -> Peer | None:
        """A connection at rest that may still serve; those that rested too long are cut."""
        oldest = self._clock.monotonic() - self._settings.idle_timeout
        while self._idle and self._idle[0].last_used < oldest:
            self._idle.pop(0).cut()
        while self._idle:
            peer = self._idle.pop()
            if peer.is_open:
                return peer
            peer.cut()
        return None

    async def _connected(self) -> Peer:
        peer = Peer(await self._connector.connect())
        if self._credentials is not None:
            try:
                await peer.shake_hands(self._credentials)
            except BaseException:
                peer.cut()
                raise
        return peer


def _credentials(chosen: ReceiverChoices) -> Credentials | None:
    """What the handshake needs; None if there is to be none."""
    if chosen.shared_key is None and not chosen.empty_shared_key and not chosen.username:
        return None
    return Credentials(chosen.self_hostname, chosen.shared_key or "", chosen.username, chosen.password)
