"""What is known of the cluster and of its tasks; what could not be had is asked for again, after a pause."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict

from ...clock import Clock
from ...log import Log
from ..patience import Errands
from .agent import Agent, Failed, Variables

LONGEST_WAIT_S = 5.0
"""How long the start, or a record, waits for what the agent tells; records do so for so long a minute, all together."""

_FIRST_PAUSE_S = 1.0
_LAST_PAUSE_S = 60.0
_MOST_CONTAINERS = 1024
_REMARK_EVERY_S = 60.0


class _Retry:
    """When something may be asked for again; the pauses grow."""

    __slots__ = ("due", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self.due = float("-inf")

    def failed(self, now: float) -> None:
        self.due = now + min(_FIRST_PAUSE_S * 2.0 ** min(self.failures, 10), _LAST_PAUSE_S)
        self.failures += 1


class _Container:
    """A container; without variables until its task is known. It was given up at `given_up_at` if that is set."""

    __slots__ = ("given_up_at", "retry", "used_at", "variables")

    def __init__(self, now: float) -> None:
        self.variables: Variables | None = None
        self.retry = _Retry()
        self.given_up_at: float | None = None
        self.used_at = now


class Knowledge:
    """Asks the agent, one question at a time; when nobody answers, nothing is asked for a while.

    Questions go on in the background when nobody can wait for them any longer; see `Errands`.

    `cluster` is None until the agent has told it. A container is forgotten when its records have not come for `ttl_s`,
    and a task that was given up is asked for again after that time. Only answers count as failures of a task: an agent
    that is away for a moment must not cost its fields for so long.
    """

    def __init__(self, agent: Agent, ttl_s: float, retries: int, clock: Clock, log: Log) -> None:
        self.cluster: Variables | None = None
        self._agent = agent
        self._ttl_s = ttl_s or math.inf
        self._retries = retries
        self._clock = clock
        self._log = log
        self._cluster_retry = _Retry()
        self._away = _Retry()
        self._containers: OrderedDict[str, _Container] = OrderedDict()
        self._asking = asyncio.Lock()
        self._errands = Errands(LONGEST_WAIT_S, clock)

    def of(self, container: str | None) -> Variables | None:
        """Everything that is known of a container, or None if its task is not known."""
        entry = self._containers.get(container) if container is not None else None
        return entry.variables if entry is not None else None

    async def learn_cluster(self) -> None:
        """Ask for the cluster if that is due; waits for it while there is patience."""
        if self._is_cluster_due():
            await self._errands.run("cluster", self._ask_cluster)

    async def learn_task(self, container: str) -> None:
        """Ask for the task of a container if that is due; waits for it while there is patience."""
        entry = self._entry(container)
        if self._is_due(entry):
            await self._errands.run(container, lambda: self._ask_task(container, entry))

    async def close(self) -> None:
        """End the questions that are on their way."""
        await self._errands.close()

    def _is_cluster_due(self) -> bool:
        return self.cluster is None and self._clock.monotonic() >= max(self._cluster_retry.due, self._away.due)

    def _is_due(self, entry: _Container) -> bool:
        now = self._clock.monotonic()
        if entry.variables is not None or now < self._away.due:
            return False
        if entry.given_up_at is not None and now - entry.given_up_at >= self._ttl_s:
            entry.given_up_at, entry.retry = None, _Retry()
        return entry.given_up_at is None and now >= entry.retry.due

    async def _ask_cluster(self) -> None:
        async with self._asking:
            if not self._is_cluster_due():
                return
            try:
                self.cluster = await self._agent.cluster()
            except Failed as error:
                retry = self._away if error.is_away else self._cluster_retry
                retry.failed(self._clock.monotonic())
                self._log.warning(
                    "the ECS agent does not tell the cluster; records pass as they are",
                    every=_REMARK_EVERY_S,
                    reason=error,
                )
            else:
                self._away = _Retry()

    async def _ask_task(self, container: str, entry: _Container) -> None:
        async with self._asking:
            if self.cluster is None or not self._is_due(entry):
                return  # the answer to an earlier question has told of it as well
            try:
                told = await self._agent.task(container)
            except Failed as error:
                self._failed(container, entry, error)
                return
        self._away = _Retry()
        for name, variables in told.items():
            self._entry(name).variables = self.cluster | variables
        entry.variables = self._entry(container).variables

    def _failed(self, container: str, entry: _Container, error: Failed) -> None:
        now = self._clock.monotonic()
        retry = self._away if error.is_away else entry.retry
        retry.failed(now)
        if entry.retry.failures > self._retries:
            entry.given_up_at = now
            self._log.warning("the task of a container is given up", container=container, reason=error)
        else:
            self._log.warning("no task of a container", every=_REMARK_EVERY_S, container=container, reason=error)

    def _entry(self, container: str) -> _Container:
        """The entry of a container, which is now the youngest; old ones make room."""
        now = self._clock.monotonic()
        entry = self._containers.get(container)
        if entry is not None and now - entry.used_at > self._ttl_s:
            entry = None
        if entry is None:
            if len(self._containers) >= _MOST_CONTAINERS:
                self._containers.popitem(last=False)
            entry = self._containers[container] = _Container(now)
        entry.used_at = now
        self._containers.move_to_end(container)
        return entry
