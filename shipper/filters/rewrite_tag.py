"""Give records another tag by what is in them; with it they go through the filters from the first one on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from ..codecs.template import Groups, KeyPath, Template
from ..config.options import Written, opt
from ..config.units import ByteSize, parse_bool
from ..config.words import split_words
from ..context import Context
from ..errors import OptionError
from ..parsers.onigmo import Regex
from ..record import Body, Record, RecordBatch, seen_as_tag
from .base import FilterOptions, HoldingFilter

_REMARK_EVERY_S = 60.0


class Rule(msgspec.Struct, frozen=True):
    """One "KEY REGEX NEW_TAG KEEP" as written."""

    shown_as: ClassVar[str] = "words"
    path: KeyPath
    regex: Regex
    tag: Template
    keeps: bool

    @classmethod
    def parse_written(cls, written: Written) -> Self:
        """Read a rule; raises `ValueError` that tells what is wrong with it."""
        words = split_words(written.text)
        if len(words) != 4:
            raise ValueError(f"expects 4 values KEY REGEX NEW_TAG KEEP (only {len(words)} were found)")
        key = words[0] if words[0].startswith("$") else f"${words[0]}"
        return cls(KeyPath.parse(key), Regex(words[1]), Template.parse(words[2]), parse_bool(words[3]))

    def new_tag(self, tag: str, body: Body) -> str | None:
        """The tag for a record that the rule matches, None for others; only texts are ever matched."""
        value = self.path.get(body)
        found = self.regex.search(value) if isinstance(value, str) else None
        if found is None:
            return None
        groups: Groups = (found[0], *found.groups())
        return seen_as_tag(self.tag.render(tag, body, groups))


class RewriteTagOptions(FilterOptions):
    """Options of the rewrite_tag filter."""

    rule: Annotated[
        tuple[Rule, ...],
        opt("KEY REGEX NEW_TAG KEEP: records that match get the new tag.", example="$level ^ERR errors.$TAG false"),
    ] = ()
    emitter_name: Annotated[
        str | None, opt("Accepted; records stay with the input they came from. It must be the name of no input.")
    ] = None
    emitter_storage_type: Annotated[
        Literal["memory", "filesystem"], opt("Accepted; records are stored as those of their input.")
    ] = msgspec.field(default="memory", name="emitter_storage.type")
    emitter_mem_buf_limit: Annotated[ByteSize, opt("Accepted; the limit of the input counts.")] = ByteSize(10_000_000)

    def __post_init__(self) -> None:
        if not self.rule:
            raise OptionError("rule", "is required", "for example: Rule $level ^ERR errors.$TAG false")


class RewriteTagFilter(HoldingFilter):
    """Hands out records under other tags, by the first rule that matches each; with KEEP it goes on as it was, too.

    What was handed out does not come back to this filter, so nothing goes round in circles. Nothing is held: what a
    batch gives is ready as soon as it was taken.
    """

    Options = RewriteTagOptions
    makes_tags = True

    def __init__(self, options: RewriteTagOptions, context: Context) -> None:
        self._rules = options.rule
        self._ready: dict[str, list[RecordBatch]] = {}
        self._log = context.log
        self._emitted = context.counter("emit_records_total")
        if options.match == "*":
            context.log.warning("match '*' also takes the records of other rewrite_tag filters")

    def take(self, batch: RecordBatch, source: str) -> RecordBatch | None:
        tags = [self._decide(batch.tag, body) for body in _maps(batch)]
        if not any(tags):
            return batch
        size_each = batch.size // len(batch)
        handed_out: dict[str, list[Record]] = {}
        staying: list[Record] = []
        for record, decided in zip(batch.records, tags, strict=True):
            if decided is None:
                staying.append(record)
                continue
            tag, is_kept = decided
            moved = handed_out.setdefault(tag, [])
            if is_kept:
                staying.append(record)
                metadata = dict(record.metadata) if record.metadata else None
                moved.append(Record(record.time_ns, dict(record.body), metadata))
            else:
                moved.append(record)
        for tag, records in handed_out.items():
            batch.receipt.share()
            self._emitted.add(len(records))
            new = RecordBatch(tag, records, size_each * len(records), batch.receipt)
            self._ready.setdefault(source, []).append(new)
        if not staying:
            return None
        batch.size -= size_each * (len(batch) - len(staying))
        batch.records = staying
        return batch

    def handed_out(self, source: str) -> list[RecordBatch]:
        return self._ready.pop(source, [])

    def held(self, source: str) -> int:
        return sum(map(len, self._ready.get(source, ())))

    def passed_by(self, batch: RecordBatch) -> None:
        if any(self._decide(batch.tag, body) for body in _maps(batch)):
            self._log.error(
                "emitter cycle detected: a rule fits records that have had a tag of it; they keep the tag they have",
                every=_REMARK_EVERY_S,
                tag=batch.tag,
            )

    def release(self, source: str, now: float | None) -> float | None:
        return None

    def _decide(self, tag: str, body: Body) -> tuple[str, bool] | None:
        """The new tag of a record, and whether it keeps its own too; None if no rule is for it."""
        for rule in self._rules:
            new = rule.new_tag(tag, body)
            if new is not None:
                return new, rule.keeps
        return None


def _maps(batch: RecordBatch) -> Sequence[Any]:
    """The bodies, without making records of a batch that no rule may be for."""
    bodies = batch.content.bodies()
    return bodies if set(map(type, bodies)) <= {dict} else [r.body for r in batch.records]
