"""Creates log streams, and the groups they belong to, once each and not too fast."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import ClassVar, Self

import msgspec

from ...aws.settings import AwsError, is_throttled
from ...clock import Clock
from ...errors import Counts, RetryLater
from ...log import Log
from .calls import Calls, Denied, StreamBlocked
from .requests import Stream

_CREATIONS_PER_SECOND = 45
"""The quota is 50 for an account and region, and others create streams too."""

_RETENTION_RETRY_S = 60.0
_RETENTION_WAIT_S = 1.0
"""How long the first stream of a new group waits for its retention, so that calls come in their usual order."""


class Tag(msgspec.Struct, frozen=True):
    """A tag of created groups, written as `key=value`."""

    shown_as: ClassVar[str] = "key=value"
    key: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{text!r} is not key=value")
        return cls(key.strip(), value.strip())


class GroupOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about groups, and whether their streams are created."""

    create: bool = False
    create_streams: bool = True
    storage_class: str | None = None
    retention_days: int = 0
    tags: Mapping[str, str] = {}


class _GroupState:
    """A group that was missing once. `lock` is held while it is created, `creations` counts that."""

    __slots__ = ("creations", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.creations = 0


class Creator:
    """Makes sure that streams exist; `work` gives groups that were created their retention."""

    def __init__(self, calls: Calls, options: GroupOptions, clock: Clock, log: Log) -> None:
        self._calls = calls
        self._options = options
        self._clock = clock
        self._log = log
        self._groups: dict[str, _GroupState] = {}
        self._recent: deque[float] = deque(maxlen=_CREATIONS_PER_SECOND)
        # Groups whose retention is to be set, with what tells that it was tried once.
        self._unset: dict[str, asyncio.Event] = {}
        self._has_unset = asyncio.Event()

    async def work(self) -> None:
        """Set the retention of groups that were created, until cancelled; what fails is tried again each minute."""
        begun: set[str] = set()
        async with asyncio.TaskGroup() as beside:
            while True:
                self._has_unset.clear()
                for group in self._unset.keys() - begun:
                    begun.add(group)
                    beside.create_task(self._keep_setting_retention(group, begun))
                await self._has_unset.wait()

    async def create(self, stream: Stream) -> None:
        """Create the stream if it is missing, and its group if that is missing and may be created.

        Raises `StreamBlocked` if the group is missing, `RetryLater` for any other trouble.
        """
        if not self._options.create_streams:
            return  # sending to it will tell whether it is there
        self._log.info(f"Creating log stream {stream.name} in log group {stream.group}")
        try:
            is_there = await self._create_stream(stream)
        except Denied as error:
            # The stream may have been made by somebody who is allowed to; sending to it will tell.
            self._log.warning("cannot create log streams; sending all the same", every=60, reason=error)
            return
        if not is_there:
            await self._create_group(stream.group)
            if not await self._create_stream(stream):
                raise StreamBlocked(f"log group {stream.group} was created but is not there yet", 1.0)
        self._log.info(f"Created log stream {stream.name}")

    async def _keep_setting_retention(self, group: str, begun: set[str]) -> None:
        tried = self._unset[group]
        while not await self._set_retention(group):
            tried.set()
            await self._clock.sleep(_RETENTION_RETRY_S)
        tried.set()
        del self._unset[group]
        begun.discard(group)

    async def _set_retention(self, group: str) -> bool:
        """Whether the retention is set now; waits for the answer."""
        days = self._options.retention_days
        self._log.info(f"Setting retention policy on log group {group} to {days}d")
        try:
            body = b'{"logGroupName":%b,"retentionInDays":%d}' % (_text(group), days)
            await self._calls.make("PutRetentionPolicy", body, group)
        except (AwsError, RetryLater) as error:
            self._log.warning(
                "could not set the retention policy; logs are sent, it is tried again",
                every=_RETENTION_RETRY_S,
                group=group,
                reason=error,
            )
            return False
        self._log.info(f"Set retention policy to {days}")
        return True

    async def _create_stream(self, stream: Stream) -> bool:
        """False if the group is missing."""
        await self._keep_pace()
        body = b'{"logGroupName":%b,"logStreamName":%b}' % (_text(stream.group), _text(stream.name))
        try:
            await self._calls.make("CreateLogStream", body, stream.group)
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                return False
            if error.code != "ResourceAlreadyExistsException":
                raise _later("CreateLogStream", error) from error
        return True

    async def _create_group(self, group: str) -> None:
        if not self._options.create:
            self._log.error(f"Log Group {group} not found and `auto_create_group` disabled.", every=60)
            raise StreamBlocked(f"log group {group} not found and auto_create_group is off")
        self._log.info(f"Log Group {group} not found. Will attempt to create it.")
        state = self._groups.setdefault(group, _GroupState())
        known = state.creations
        async with state.lock:
            if state.creations > known:
                return  # another stream's turn has created it while this one waited
            await self._create_missing_group(group)
            state.creations += 1
            if self._options.retention_days > 0:
                tried = self._unset.setdefault(group, asyncio.Event())
                self._has_unset.set()
                await self._clock.wait(tried, _RETENTION_WAIT_S)

    async def _create_missing_group(self, group: str) -> None:
        storage_class = self._options.storage_class
        self._log.info(f"Creating log group {group}")
        # The blank is Fluent Bit's, so that both write the same bytes.
        chosen = b', "logGroupClass":%b' % _text(storage_class) if storage_class else b""
        if self._options.tags:
            chosen += b',"tags":%b' % json.dumps(dict(self._options.tags)).encode()
        try:
            await self._calls.make("CreateLogGroup", b'{"logGroupName":%b%b}' % (_text(group), chosen), group)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise _later("CreateLogGroup", error) from error
        else:
            self._log.info(f"Created log group {group} with storage class {storage_class or 'STANDARD'}")

    async def _keep_pace(self) -> None:
        now = self._clock.monotonic()
        if len(self._recent) == _CREATIONS_PER_SECOND and (wait := self._recent[0] + 1.0 - now) > 0:
            now += wait
            self._recent.append(now)
            await self._clock.sleep(wait)
        else:
            self._recent.append(now)


def _later(operation: str, error: AwsError) -> RetryLater:
    if error.code == "OperationAbortedException":
        return RetryLater(f"{operation}: {error}", 1.0)
    if error.code == "InvalidParameterException":
        return StreamBlocked(f"{operation}: {error}", error.after)
    counts = Counts.WITHOUT_PROGRESS if is_throttled(error) else Counts.ALWAYS
    return RetryLater(f"{operation}: {error}", error.after, counts)


def _text(name: str) -> bytes:
    return json.dumps(name).encode()
