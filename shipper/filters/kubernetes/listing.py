"""The kubelet's list of all pods: one answer serves many questions, and it is not asked for over and over.

Pods that start one after another each need a list that is newer than they are. Who asks while a list is on its way, or
while it has to wait for its turn, shares the next one, and its failure as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ...clock import Clock
from ..patience import Pace
from .belonging import Belonging, belonging
from .names import Names
from .objects import Pod, PodList
from .server import NoMetadata

LISTS_AT_ONCE = 3
LIST_EVERY_S = 4.0
"""After so many lists in succession there is one in this time, so that a burst of pods does not become one of lists."""

_SERVES_S = 10.0
"""How old a list may be to answer for a pod that it has, with the very container."""


class PodListing:
    """The pods of the kubelet. `ask` gives the list of now, or raises `NoMetadata`.

    `_listed` is what came of the question that began at `_begun_at`: None before the first one, and while one is asked.
    """

    def __init__(self, ask: Callable[[], Awaitable[PodList]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._pace = Pace(LISTS_AT_ONCE, LIST_EVERY_S, clock)
        self._listed: PodList | NoMetadata | None = None
        self._begun_at = float("-inf")
        self._listing = asyncio.Lock()

    async def pod(self, names: Names) -> Pod:
        """The pod; raises `NoMetadata`. May wait until it is time for another list."""
        asked_at = self._clock.monotonic()
        if isinstance(self._listed, PodList) and asked_at - self._begun_at <= _SERVES_S:
            found = best_of(self._listed, names)
            if found is not None and belonging(names, found) == Belonging.CONTAINER:
                return found
        found = best_of(await self._begun_since(asked_at), names)
        if found is None:
            raise NoMetadata("the kubelet's list does not have the pod", is_passing=True)
        return found

    async def all(self) -> PodList:
        """All pods, as they were a few seconds ago or are now; raises `NoMetadata`. May wait as well."""
        return await self._begun_since(self._clock.monotonic() - _SERVES_S)

    async def _begun_since(self, moment: float) -> PodList:
        """A list that was asked for at that moment of the clock or later."""
        async with self._listing:
            if self._listed is None or self._begun_at < moment:
                await self._pace.keep()
                begun_at, self._listed = self._clock.monotonic(), None
                self._listed = await self._outcome()
                self._begun_at = begun_at
            if isinstance(self._listed, NoMetadata):
                raise self._listed.again()
            return self._listed

    async def _outcome(self) -> PodList | NoMetadata:
        try:
            return await self._ask()
        except NoMetadata as error:
            return error.again()


def best_of(listed: PodList, names: Names) -> Pod | None:
    """The pod of these names; of several the one that they have the most to do with."""
    pods = listed.named(names.namespace_name, names.pod_name)
    return max(pods, key=lambda pod: belonging(names, pod), default=None)
