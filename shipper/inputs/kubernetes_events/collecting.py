"""List what there is, then watch what changes; begin anew when the API server has forgotten where we were."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Sequence
from urllib.parse import quote

import msgspec

from ...context import Context, Emit
from ...kubernetes.api import ApiServer, NoApi
from ...net.settings import NoAnswer
from ...record import Receipt, Record, RecordBatch
from .events import Event, LineSplitter, event_time_ns, read_change, read_event, version_number
from .interruptions import Interrupted, ListAgain, error_in_watch, refusal
from .listing import Listing
from .options import KubernetesEventsOptions
from .progress import Progress
from .seen import RecentlySeen
from .sent import DatabaseAway, SentEvent, SentEvents

LONGEST_LINE = 4 << 20
_MOST_AT_ONCE = 200
_LONGEST_PAUSE_S = 10.0
_LONGEST_WISH_S = 60.0
_LONGEST_WATCH_S = 3900.0
"""An API server ends a watch without a timeout after an hour at most."""
_WATCH_DELAY_S = 10.0
_GATHER_S = 0.2
"""What comes in this time is handed on as one batch: for each of them something is held until it is delivered."""

_MUCH = 64 << 10
"""Bytes of a watch that are not worth waiting for more."""

_FORGET_EVERY_S = 60.0
_REMARK_EVERY_S = 60.0


class Collecting:
    """Emits the events of one API server until cancelled.

    `_floor` is the largest version behind which everything was emitted. `_watch_from` is where the next watch begins,
    None if a list has to come first; `_is_resuming` says that it goes on where the last one ended. `_failures` counts
    what has failed since something went well.

    `_began_ns` is when collecting began. Whether an event is too old is judged by that: it must not grow old while it
    waits for room in our buffer.
    """

    def __init__(
        self,
        api: ApiServer,
        options: KubernetesEventsOptions,
        context: Context,
        seen: RecentlySeen,
        sent: SentEvents | None,
        deliver: Callable[[list[SentEvent]], None],
        may_emit: Callable[[], bool],
    ) -> None:
        self._api = api
        self._options = options
        self._context = context
        self._log = context.log
        self._clock = context.clock
        self._tag = options.tag or context.name
        self._seen = seen
        self._sent = sent
        self._deliver = deliver
        self._may_emit = may_emit
        self._retention_ns = int(options.kube_retention_time * 1e9)
        namespace = f"/namespaces/{options.kube_namespace}" if options.kube_namespace else ""
        self._path = f"/api/v1{namespace}/events"
        self._listing = Listing(api, self._path, options.kube_request_limit, lambda: self._clock.time_ns() / 1e9)
        self._floor = 0
        self._watch_from: str | None = None
        self._is_resuming = False
        self._failures = 0
        self._began_ns = 0
        self._forget_at = float("-inf")

    async def run(self, emit: Emit, progress: Progress) -> None:
        """List and watch for ever; what is known to be delivered by `progress` is not emitted again."""
        self._floor = version_number(progress.reached)
        self._began_ns = self._clock.time_ns()
        while True:
            pause_s = self._options.interval_s
            try:
                self._forget_old()
                if self._watch_from is None:
                    await self._list(emit, progress)
                await self._watch(emit, progress)
                self._failures = 0
            except ListAgain as reason:
                self._watch_from, self._failures = None, 0
                self._log.info("events are listed again", reason=reason)
            except (Interrupted, NoApi, NoAnswer) as error:
                self._log.error("kubernetes events cannot be read", every=_REMARK_EVERY_S, reason=error)
                pause_s = self._pause_s(error)
                if isinstance(error, Interrupted) and not error.keeps_place:
                    self._watch_from = None
            await self._clock.sleep(pause_s)

    def _pause_s(self, error: Exception) -> float:
        """Seconds until the next attempt; longer each time, and as long as the server wishes within bounds."""
        interval_s = self._options.interval_s
        pause_s = min(interval_s * (1 << self._failures), max(interval_s, _LONGEST_PAUSE_S))
        self._failures = min(self._failures + 1, 10)
        wish_s = error.after if isinstance(error, Interrupted) else None
        return pause_s if wish_s is None else max(pause_s, min(wish_s, _LONGEST_WISH_S))

    # -- list --------------------------------------------------------------------------------------------------------

    async def _list(self, emit: Emit, progress: Progress) -> None:
        page = await self._listing.page("")
        self._compare_history(page.metadata.version)
        while True:
            items, page.items = page.items or [], None
            for start in range(0, len(items), _MOST_AT_ONCE):
                events = [e for e in map(self._event, items[start : start + _MOST_AT_ONCE]) if e is not None]
                await self._hand_on(events, None, emit, progress)
            more = page.metadata.more
            if not more:
                break
            page = await self._listing.page(more)
            if page.metadata.more == more:
                raise Interrupted("the list of events does not go on")
        version = page.metadata.version
        progress.settle(progress.owe(version))
        self._floor = max(self._floor, version_number(version))
        self._watch_from, self._is_resuming = version, False

    def _compare_history(self, version: str) -> None:
        if 0 < version_number(version) < self._floor:
            self._log.warning(
                "versions of the API server have gone back; its events are compared one by one",
                every=_REMARK_EVERY_S,
                version=version,
                known=self._floor,
            )
            self._floor = 0

    # -- watch -------------------------------------------------------------------------------------------------------

    async def _watch(self, emit: Emit, progress: Progress) -> None:
        timeout_s = int(self._options.kube_watch_timeout)
        target = f"{self._path}?watch=1&resourceVersion={quote(self._watch_from or '', safe='')}"
        target += f"&timeoutSeconds={timeout_s}" if timeout_s > 0 else ""
        # Bookmarks keep the place of a quiet watch from growing old. Fluent Bit asks for none.
        target += "&allowWatchBookmarks=true" if self._is_resuming else ""
        self._log.debug(f"Requesting {target}")
        stream = await self._api.follow(target)
        try:
            if stream.status != 200:
                body = await stream.read(_WATCH_DELAY_S)
                raise refusal(stream.status, stream.headers, body, self._clock.time_ns() / 1e9)
            lines = LineSplitter(LONGEST_LINE)
            patience_s = timeout_s + _WATCH_DELAY_S if timeout_s > 0 else _LONGEST_WATCH_S
            while data := await stream.read(patience_s):
                await self._take(lines.feed(data), emit, progress)
                self._note_long_lines(lines)
                if len(data) < _MUCH:
                    await self._clock.sleep(_GATHER_S)
            if rest := lines.rest():
                await self._take([rest], emit, progress)
        finally:
            stream.close()
        self._log.debug("kubernetes stream closed by api server. Reconnect will happen on next interval.")

    async def _take(self, lines: Sequence[bytes], emit: Emit, progress: Progress) -> None:
        """Hand on what the lines tell, as one batch."""
        events: list[Event] = []
        version = self._watch_from or ""
        trouble: Interrupted | ListAgain | None = None
        for line in lines:
            try:
                change = read_change(line)
            except (ValueError, RecursionError) as error:
                trouble = Interrupted(f"a line of the watch cannot be read: {error}")
                break
            if change.type == "ERROR":
                trouble = error_in_watch(bytes(change.object))
                break
            event = self._event(change.object)
            if event is None:
                continue
            version = event.version or version
            if change.type in ("ADDED", "MODIFIED"):
                events.append(event)
        await self._hand_on(events, version, emit, progress)
        self._floor = max(self._floor, version_number(version))
        self._watch_from, self._is_resuming = version, True
        if trouble is not None:
            raise trouble
        self._failures = 0

    def _note_long_lines(self, lines: LineSplitter) -> None:
        if lines.too_long:
            self._context.dropped(lines.too_long, 0, "line_too_long")
            self._log.error("a line of the watch is too long and left out", longest=LONGEST_LINE)
            lines.too_long = 0

    # -- emit --------------------------------------------------------------------------------------------------------

    async def _hand_on(self, events: list[Event], version: str | None, emit: Emit, progress: Progress) -> None:
        """Emit those that are new; with their delivery everything up to `version` is delivered."""
        self._forget_old()
        step = progress.owe(version)
        try:
            keys, rows, records, size = self._chosen(events)
            step.hashes = array("q", map(hash, keys))
            if not records:
                progress.settle(step)
                return
            if not self._may_emit():
                raise ListAgain("another one leads now")

            def delivered() -> None:
                self._deliver(rows)
                progress.settle(step)

            await emit(RecordBatch(self._tag, records, size, Receipt(delivered)))
        except BaseException:
            progress.withdraw(step)
            raise
        for key in keys:
            self._seen.add(key)

    def _chosen(self, events: list[Event]) -> tuple[set[Hashable], list[SentEvent], list[Record], int]:
        keys: set[Hashable] = set()
        rows: list[SentEvent] = []
        records: list[Record] = []
        size = 0
        # A clock that was ahead when we began, and was set right since, must not make everything old.
        oldest = min(self._began_ns, self._clock.time_ns()) - self._retention_ns
        for event in events:
            time_ns = event_time_ns(event.body)
            if time_ns is None:
                self._drop(event.size, "an event without a time is left out", "no_time")
                continue
            key = self._key(event)
            if time_ns < oldest:
                self._leave_out_old(event, key)
                continue
            if key in keys or not self._is_new(event, key):
                continue
            keys.add(key)
            if self._sent is not None:
                rows.append(SentEvent(event.uid, event.number, time_ns))
            records.append(Record(time_ns, event.body))
            size += event.size
        return keys, rows, records, size

    def _leave_out_old(self, event: Event, key: Hashable) -> None:
        """Count an event that is too old, unless it was there before we began: then nobody expects it."""
        if self._floor and self._is_new(event, key):
            self._log.warning(
                "events that happened longer ago than kube_retention_time are left out", every=_REMARK_EVERY_S
            )
            self._context.dropped(1, event.size, "too_old", wanted=True)

    def _key(self, event: Event) -> Hashable:
        if self._options.emits_updates or not event.uid:
            return event.uid, event.version
        return event.uid

    def _is_new(self, event: Event, key: Hashable) -> bool:
        if key in self._seen or 0 < event.number <= self._floor:
            return False
        if self._sent is None or not event.uid:
            return True
        try:
            known = self._sent.version(event.uid)
        except DatabaseAway as error:
            raise Interrupted(f"the database cannot be read: {error}", keeps_place=True) from error
        return known is None or (self._options.emits_updates and event.number > known)

    def _event(self, raw: msgspec.Raw) -> Event | None:
        try:
            return read_event(raw)
        except ValueError as error:
            self._drop(len(memoryview(raw)), f"an event cannot be read and is left out: {error}", "invalid")
            return None

    def _drop(self, size: int, message: str, reason: str) -> None:
        self._log.error(message, every=_REMARK_EVERY_S)
        self._context.dropped(1, size, reason)

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        if self._sent is not None and now >= self._forget_at:
            self._forget_at = now + _FORGET_EVERY_S
            self._sent.forget(self._clock.time_ns() - self._retention_ns)
