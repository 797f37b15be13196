"""Who leads: a `Lease` of coordination.k8s.io/v1 that one of several processes holds at a time.

The holder renews the lease; the others look at it. Whoever has seen it unchanged for its whole duration takes it. Times
written by others are never compared with the own clock, only the time since a change was seen: clocks may differ.

The holder counts itself as the leader for two thirds of the duration after the *beginning* of its last successful
request, and the others wait for the whole duration after they have *seen* its result. So there are never two leaders,
whatever is slow, lost or paused. Every write names the version that was read, so of two writers one is refused.

The lease also carries annotations of its holder, for the one that leads next.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from ..clock import Clock
from ..log import Log
from ..net.settings import HttpAnswer
from .api import NoApi

Document = dict[str, Any]
Move = Literal["create", "take", "renew", "wait"]

_REMARK_EVERY_S = 60.0
_WAIT_TOLD_EVERY_S = 3600.0
_SOONEST_NEWS_S = 1.0
"""Annotations that change are written at most once in this time."""


class LeaseApi(Protocol):
    """What makes requests; `ApiServer` does."""

    async def request(self, method: str, target: str, document: object = None) -> HttpAnswer: ...


class LeaseSettings(msgspec.Struct, frozen=True):
    """Which lease, who we are, and for how long it is ours without a renewal."""

    namespace: str
    name: str
    identity: str
    duration_s: float

    @property
    def deadline_s(self) -> float:
        """How long we lead after a successful request began."""
        return self.duration_s * 2 / 3

    @property
    def retry_s(self) -> float:
        """Time between renewals."""
        return self.duration_s / 6

    @property
    def look_s(self) -> float:
        """Time between looks of those that wait; they may be many."""
        return self.duration_s / 3


class Sighting(msgspec.Struct, frozen=True):
    """What was seen of a lease held by somebody else, and since when it is like that by our clock."""

    version: str
    since: float


def next_move(lease: Document | None, seen: Sighting | None, settings: LeaseSettings, now: float) -> Move:
    """What to do about the lease as it is now; `seen` is the last change of it that was noticed."""
    if lease is None:
        return "create"
    spec = _map(lease.get("spec"))
    holder = spec.get("holderIdentity")
    if not holder:
        return "take"
    if holder == settings.identity:
        return "renew"
    if seen is not None and seen.version == version_of(lease) and now - seen.since > duration_of(lease, settings):
        return "take"
    return "wait"


def written(
    lease: Document | None, move: Move, settings: LeaseSettings, now: str, notes: Mapping[str, str]
) -> Document:
    """The lease to write for this move; what we do not know of it stays as it is."""
    old = lease or {"metadata": {"name": settings.name, "namespace": settings.namespace}}
    meta, spec = _map(old.get("metadata")), _map(old.get("spec"))
    spec = {
        **spec,
        "holderIdentity": settings.identity,
        "leaseDurationSeconds": max(1, round(settings.duration_s)),
        "renewTime": now,
    }
    if move != "renew":
        told = spec.get("leaseTransitions")
        spec["acquireTime"] = now
        spec["leaseTransitions"] = told + 1 if isinstance(told, int) and move == "take" else 0
    annotations = {**_map(meta.get("annotations")), **notes}
    meta = {**meta, "annotations": annotations} if annotations else meta
    return {**old, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def duration_of(lease: Document, settings: LeaseSettings) -> float:
    """How long others have to see the lease unchanged: what it tells itself, or ours if that is longer."""
    told = _map(lease.get("spec")).get("leaseDurationSeconds")
    return max(settings.duration_s, float(told) if isinstance(told, int) else 0.0)


def version_of(lease: Document) -> str:
    return str(_map(lease.get("metadata")).get("resourceVersion"))


class Election:
    """Holds the lease, or waits for it, while `run` runs.

    `_lease` is the lease as it was last read or written, None if it has to be read again. `_leads_until` is when
    leadership ends without a renewal; minus infinity while somebody else leads. `notes` gives the annotations to write.
    """

    def __init__(
        self,
        api: LeaseApi,
        settings: LeaseSettings,
        clock: Clock,
        log: Log,
        notes: Callable[[], Mapping[str, str]],
    ) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._log = log
        self._notes = notes
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases"
        self._lease: Document | None = None
        self.annotations: Mapping[str, str] = {}
        """What the one that led before, or we, have noted in the lease, as it was last read or written."""
        self._seen: Sighting | None = None
        self._holder = ""
        self._leads_until = float("-inf")
        self._gained = asyncio.Event()
        self._lost = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether we lead at this very moment."""
        return self._clock.monotonic() < self._leads_until

    def note(self) -> None:
        """There is something new in `notes`; it is written soon if we lead."""
        self._news.set()

    async def until_gained(self) -> None:
        """Wait until we lead."""
        while not self.leads:
            self._gained.clear()
            await self._gained.wait()

    async def until_lost(self) -> None:
        """Wait until we lead no longer."""
        while (left := self._leads_until - self._clock.monotonic()) > 0:
            self._lost.clear()
            await self._clock.wait(self._lost, left)

    async def run(self) -> None:
        """Get the lease and keep it, until cancelled."""
        self._log.info("attempting to acquire leader lease", lease=self._shown())
        while True:
            self._news.clear()
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._settings.duration_s / 3):
                    await self._turn()
            except TimeoutError:
                self._failed("no answer in time")
            except NoApi as error:
                self._failed(str(error))
            if self.leads:
                await self._clock.sleep(min(_SOONEST_NEWS_S, self._settings.retry_s))
                await self._clock.wait(self._news, max(0.0, began + self._settings.retry_s - self._clock.monotonic()))
            else:
                await self._clock.sleep(self._until_look())

    async def release(self) -> None:
        """Give the lease up so that another one need not wait; does nothing if it is not ours."""
        if not self._leads_now():
            return
        try:
            is_released = await self._has_released() or (await self._read() and await self._has_released())
        except NoApi as error:
            self._log.warning("leader lease is not released and expires by itself", reason=error)
        else:
            if is_released:
                self._log.info("leader lease released", lease=self._shown())
        self._leads_until = float("-inf")

    async def _has_released(self) -> bool:
        """Write that nobody holds the lease; false if it is not known, was changed, or is somebody else's."""
        if self._lease is None or _map(self._lease.get("spec")).get("holderIdentity") != self._settings.identity:
            return False
        lease = written(self._lease, "renew", self._settings, _now(self._clock), self._notes())
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        answer = await self._api.request("PUT", f"{self._folder}/{self._settings.name}", lease)
        return answer.status == 200

    async def _turn(self) -> None:
        """Look at the lease, unless we know it, and write it if it is ours or to be taken."""
        if (not self._leads_now() or self._lease is None) and not await self._read():
            return
        now = self._clock.monotonic()
        move = next_move(self._lease, self._seen, self._settings, now)
        if move == "wait":
            self._lose()
            self._tell_wait()
            return
        document = written(self._lease, move, self._settings, _now(self._clock), self._notes_for(move))
        if move == "create":
            answer = await self._api.request("POST", self._folder, document)
        else:
            answer = await self._api.request("PUT", f"{self._folder}/{self._settings.name}", document)
        if answer.status in (200, 201) and (lease := _document(answer)) is not None:
            self._win(lease, now)
            return
        self._lease = None
        if answer.status != 409:
            self._refused("write", answer)

    def _until_look(self) -> float:
        """Seconds until somebody who waits looks again: when the lease is due if it stays as it is, or before."""
        pause_s = self._settings.look_s * random.uniform(0.8, 1.2)
        if self._seen is None or self._lease is None:
            return pause_s
        due_s = self._seen.since + duration_of(self._lease, self._settings) - self._clock.monotonic()
        at_once_s = self._settings.duration_s / 60
        return min(pause_s, max(0.0, due_s) + at_once_s * random.uniform(1, 2))

    def _notes_for(self, move: Move) -> Mapping[str, str]:
        # What the one before has noted is still to be read by us.
        return self._notes() if move == "renew" and self._leads_now() else {}

    def _leads_now(self) -> bool:
        return self._leads_until != float("-inf")

    async def _read(self) -> bool:
        answer = await self._api.request("GET", f"{self._folder}/{self._settings.name}")
        if answer.status == 404:
            self._lease = self._seen = None
            return True
        lease = _document(answer) if answer.status == 200 else None
        if lease is None:
            self._refused("read", answer)
            return False
        self._know(lease)
        if self._seen is None or self._seen.version != version_of(lease):
            self._seen = Sighting(version_of(lease), self._clock.monotonic())
        holder = str(_map(lease.get("spec")).get("holderIdentity") or "")
        if holder not in (self._holder, self._settings.identity, ""):
            self._log.info("new leader", holder=holder)
        self._holder = holder
        return True

    def _know(self, lease: Document) -> None:
        self._lease = lease
        self.annotations = _map(_map(lease.get("metadata")).get("annotations"))

    def _win(self, lease: Document, began: float) -> None:
        self._know(lease)
        if not self._leads_now():
            self._log.info("successfully acquired leader lease", lease=self._shown(), identity=self._settings.identity)
        self._holder = self._settings.identity
        self._leads_until = began + self._settings.deadline_s
        self._gained.set()

    def _lose(self) -> None:
        if self._leads_now():
            self._log.warning("leader lease lost", lease=self._shown())
            self._leads_until = float("-inf")
            self._lost.set()

    def _tell_wait(self) -> None:
        self._log.info(
            "waits for the leader lease, which another process holds; other pipelines need leases of other names",
            every=_WAIT_TOLD_EVERY_S,
            lease=self._shown(),
            holder=self._holder,
            since=_map((self._lease or {}).get("spec")).get("acquireTime"),
        )

    def _failed(self, reason: str) -> None:
        self._log.warning("leader lease cannot be reached", every=_REMARK_EVERY_S, reason=reason)
        if not self.leads:
            self._lose()
            self._lease = None

    def _refused(self, what: str, answer: HttpAnswer) -> None:
        self._log.error(
            f"leader lease cannot be {'read' if what == 'read' else 'written'};"
            " get, create and update of leases in its namespace must be allowed",
            every=_REMARK_EVERY_S,
            lease=self._shown(),
            status=answer.status,
            answer=answer.text[:200],
        )
        if not self.leads:
            self._lose()
            self._lease = None

    def _shown(self) -> str:
        return f"{self._settings.namespace}/{self._settings.name}"


def _now(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.time_ns() / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _document(answer: HttpAnswer) -> Document | None:
    try:
        return msgspec.json.decode(answer.body, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
