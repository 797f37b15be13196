"""Add the metadata of pods to records, and merge the JSON in their lines."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from ...config.options import did_you_mean
from ...context import Context
from ...errors import OptionError
from ...parsers.onigmo import Regex
from ...parsers.regex import RegexParser
from ...record import Record, RecordBatch
from ..base import Filter
from .annotations import Wishes
from .merging import OWN_KEYS, Merging
from .names import Names, TagReader, names_in_journal
from .options import KubernetesOptions
from .rows import EnrichedRows, is_cri_rows, put_last, streams_of
from .sources import Sources

_REMARK_EVERY_S = 60.0
_NO_WISHES = Wishes()

Added = dict[str, msgspec.Raw]


class KubernetesFilter(Filter):
    """Adds the map `kubernetes`, and `kubernetes_namespace` if asked for.

    Metadata never decides whether a line goes on: what is not known after a bounded wait is left out, or is what the
    tag says while it can be expected to become known. The bound is for all pods together: lookups hold up the lines of
    an input, those of known pods among them, for five seconds at a stretch and for five seconds a minute in the long
    run. See `Patience`.
    """

    Options = KubernetesOptions

    def __init__(self, options: KubernetesOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._merging = _merging(options, context)
        self._tags = TagReader(options.kube_tag_prefix, _regex(options, context), self._remark_tag)
        self._is_idle = options.namespace_metadata_only and not (
            options.namespace_labels or options.namespace_annotations
        )
        self._sources = Sources(options, context)
        self._unknown = context.counter("records_without_metadata_total")

    async def open(self) -> None:
        """Ask for the own pod, in the background: whether that works is told, and nothing waits for it."""
        self._sources.open()

    async def prepare(self, batch: RecordBatch) -> None:
        """Wait a few seconds at most for metadata that is needed for the first time."""
        if self._is_of_journal(batch):
            wanted = {names_in_journal(body.get("CONTAINER_NAME")) for body in (r.body for r in batch.records)}
            await self._sources.ready(names for names in wanted if names is not None)
        elif not self._is_idle and (names := self._names_of(batch)) is not None:
            await self._sources.ready((names,))

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        if self._is_idle:
            return batch
        if self._options.dummy_meta:
            return self._enriched(
                batch, self._sources.dummy(time.ctime(self._context.clock.time_ns() / 1e9)), _NO_WISHES
            )
        if self._is_of_journal(batch):
            return self._of_journal(batch)
        names = self._names_of(batch)
        if names is None:
            return batch
        added, wishes, is_known = self._sources.known(names)
        if not is_known:
            self._unknown.add(len(batch))
        return self._enriched(batch, added, wishes)

    async def close(self) -> None:
        await self._sources.close()

    def _is_of_journal(self, batch: RecordBatch) -> bool:
        return self._options.use_journal and batch.tag not in self._context.own_log_tags

    def _names_of(self, batch: RecordBatch) -> Names | None:
        """The names in the tag; our own log is that of our own pod, whatever its tag is."""
        return self._sources.own if batch.tag in self._context.own_log_tags else self._tags.read(batch.tag)

    def _of_journal(self, batch: RecordBatch) -> RecordBatch | None:
        """Each record by its own names; one without names is left out, as in Fluent Bit."""
        records = batch.records
        of: dict[Names, tuple[Added, Wishes, bool]] = {}
        kept: list[Record] = []
        unknown = 0
        for record in records:
            names = names_in_journal(record.body.get("CONTAINER_NAME"))
            if names is None:
                continue
            found = of.get(names)
            if found is None:
                found = of[names] = self._sources.known(names)
            added, wishes, is_known = found
            unknown += not is_known
            kept += self._changed([record], added, wishes)
        self._unknown.add(unknown)
        return _with_records(batch, kept)

    def _enriched(self, batch: RecordBatch, added: Added, wishes: Wishes) -> RecordBatch | None:
        content, merging = batch.content, self._merging
        has_parser = bool(wishes.parsers) or (merging is not None and merging.parser is not None)
        if is_cri_rows(content) and not (merging is not None and has_parser):
            left_out = {stream for stream in streams_of(content) if wishes.excludes(stream)} if wishes.excluded else ()
            if not left_out:
                return RecordBatch(batch.tag, EnrichedRows(content, added, merging), batch.size, batch.receipt)
        return _with_records(batch, self._changed(batch.records, added, wishes))

    def _changed(self, records: Sequence[Record], added: Added, wishes: Wishes) -> list[Record]:
        """The records, changed in place, without those that are not wanted."""
        if wishes.excluded:
            excludes = wishes.excludes
            records = [r for r in records if not excludes(r.body.get("stream"))]
        merging = self._merging
        if merging is not None:
            merge, parser_of, now_ns = merging.merge, wishes.parser_of, self._context.clock.time_ns()
            for record in records:
                body = record.body
                time_ns = merge(body, parser_of(body.get("stream")), now_ns)
                if time_ns is not None:
                    record.time_ns = time_ns
        for record in records:
            put_last(record.body, added)
            record.metadata = None
        return list(records)

    def _remark_tag(self, message: str, tag: str) -> None:
        self._context.log.warning(message, every=_REMARK_EVERY_S, tag=tag)


def _with_records(batch: RecordBatch, records: list[Record]) -> RecordBatch | None:
    """The batch with these of its records, None if there are none."""
    if not records:
        return None
    batch.size = batch.size * len(records) // len(batch)
    batch.records = records
    return batch


def _merging(options: KubernetesOptions, context: Context) -> Merging | None:
    if not options.merge_log:
        return None
    if options.merge_log_key in OWN_KEYS:
        context.log.warning(
            f"merge_log_key {options.merge_log_key} is where the metadata goes; `log` is not merged, choose another key"
        )
        return None
    parser = None
    if options.merge_parser is not None:
        parser = context.parsers.get(options.merge_parser)
        if parser is None:
            context.log.error(f"parser '{options.merge_parser}' of merge_parser is not registered; JSON is used")
    return Merging(options.merge_log_key, options.merge_log_trim, options.keep_log, parser)


def _regex(options: KubernetesOptions, context: Context) -> Regex | None:
    """The expression that replaces the built-in one for tags."""
    if options.regex_parser is None:
        return None
    parser = context.parsers.get(options.regex_parser)
    if parser is None:
        known = context.parsers.names()
        raise OptionError(
            "regex_parser", "names no parser that is registered", did_you_mean(options.regex_parser, known)
        )
    if not isinstance(parser, RegexParser):
        raise OptionError("regex_parser", f"names '{options.regex_parser}', which is not a regex parser")
    return parser.regex


__all__ = ["KubernetesFilter", "KubernetesOptions"]
