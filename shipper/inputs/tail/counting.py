"""What an operator can see of a tail input: counters of what was read and left out, and how far it is behind."""

from __future__ import annotations

from heapq import nlargest
from operator import itemgetter

from ...context import Context
from ...metrics import Counter
from .assembly import Tally
from .catalogue import Catalogue
from .long_lines import LongLines
from .positions import PositionStore

FILES_TOLD = 100
"""The files whose lag is told one by one."""

LAG_BOUNDS_S = (0, 1, 10, 60, 600)


class Counting:
    """Brings the tallies of the reader to the counters, and offers the gauges."""

    def __init__(self, context: Context, tally: Tally, long_lines: LongLines) -> None:
        self._context = context
        self._log = context.log
        self._tally = tally
        self._long_lines = long_lines
        self._told = (0, 0, 0)
        self._long_told = (0, 0)
        self._lines = context.counter("lines_total")
        self._abandoned = context.counter("abandoned_bytes_total")

    def abandoned(self, size: int, reason: str) -> None:
        """Count bytes of files that will never be read."""
        self._abandoned.add(size)
        self._context.dropped(0, size, reason)

    def offer_gauges(self, catalogue: Catalogue, store: PositionStore) -> None:
        """Export lag in bytes and seconds, of all files and of each, and the age of what is owed and not saved."""
        clock, metrics, alias = self._context.clock, self._context.metrics, self._context.alias

        def file_lag_bytes() -> dict[str, float]:
            return {follower.path: follower.unread() for follower in catalogue}

        def file_lag_s() -> dict[str, float]:
            now = clock.monotonic()
            return {follower.path: follower.behind_for_s(now) for follower in catalogue}

        def oldest_unsettled_s() -> float:
            begun = [ns for follower in catalogue if (ns := follower.oldest_owed_ns) is not None]
            return max(0.0, (clock.time_ns() - min(begun)) / 1e9) if begun else 0.0

        kind = self._context.kind
        metrics.gauge(f"{kind}_lag_bytes", lambda: sum(file_lag_bytes().values()), name=alias)
        metrics.gauge(f"{kind}_lag_seconds", lambda: max(file_lag_s().values(), default=0.0), name=alias)
        metrics.gauge(f"{kind}_oldest_unsettled_seconds", oldest_unsettled_s, name=alias)
        metrics.gauge(f"{kind}_offset_persist_age_seconds", store.failing_for_s, name=alias)
        metrics.gauges(f"{kind}_file_lag_bytes", "file", lambda: _farthest(file_lag_bytes()), name=alias)
        metrics.gauges(f"{kind}_file_lag_seconds", "file", lambda: _farthest(file_lag_s()), name=alias)
        metrics.gauges(f"{kind}_files_behind", "seconds", lambda: _by_lag(file_lag_s()), name=alias)

    def count(self) -> None:
        """Bring the counters up to date; called once a read."""
        rules, tally, count = self._long_lines, self._tally, self._context.counter
        self._lines.add(tally.lines - self._lines.value)
        long = rules.skipped + rules.truncated + rules.dropped_bytes
        now = (long, tally.invalid_utf8 + tally.too_old_lines + tally.unparsed, tally.truncated)
        if now == self._told:
            return
        self._told = now
        _raise_to(count("long_line_skipped_total"), rules.skipped)
        _raise_to(count("long_line_truncated_total"), rules.truncated)
        _raise_to(count("invalid_utf8_lines_total"), tally.invalid_utf8)
        _raise_to(count("multiline_truncated_total"), tally.truncated)
        _raise_to(count("parser_failures_total"), tally.unparsed)
        if tally.too_old_lines:
            self._context.dropped(tally.too_old_lines, tally.too_old_bytes, "ignore_older", wanted=True)
            tally.too_old_lines = tally.too_old_bytes = 0
        if rules.dropped_bytes:
            lines, size = self._long_told
            self._context.dropped(rules.skipped - lines, rules.dropped_bytes - size, "line_too_long", wanted=True)
            self._long_told = rules.skipped, rules.dropped_bytes
        if rules.skipped:
            self._log.warning("have long lines. Skipping long lines.", skipped=rules.skipped, every=60)
        if tally.truncated:
            self._log.warning("multiline message truncated due to buffer limit", truncated=tally.truncated, every=60)


def _farthest(lags: dict[str, float]) -> dict[str, float]:
    """The files that are farthest behind, so that thousands of files do not make thousands of series."""
    if len(lags) <= FILES_TOLD:
        return lags
    return dict(nlargest(FILES_TOLD, lags.items(), key=itemgetter(1)))


def _by_lag(lags: dict[str, float]) -> dict[str, float]:
    """For each of a few times how many files are behind by more than that."""
    return {str(bound): sum(1 for lag in lags.values() if lag > bound) for bound in LAG_BOUNDS_S}


def _raise_to(counter: Counter, value: int) -> None:
    counter.add(value - counter.value)
