"""What a joiner keeps pending: a lane for each definition, in it a group of lines for each value of its key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import msgspec

from ..record import Body, Record
from .multiline import MultilineDefinition
from .rule_machine import RuleState

_DEFAULT_KEY = "log"
_MOST_GROUPS = 6
_END_OF_RANGE_NS = 2**32 * 1_000_000_000


class Joined(msgspec.Struct, gc=False):
    """A finished record.

    `size` is the number of bytes its lines had in their source, or the number of records it was joined from; `offset`
    is where the line began that was being read when the record was finished, or the end of what was read if silence
    finished it. `truncated` says that a limit cut the text or ended the record.
    """

    time_ns: int
    body: Body
    size: int
    offset: int
    truncated: bool = False
    metadata: Body | None = None


class Span(msgspec.Struct, frozen=True):
    """The bytes from `start` up to `end` of a source; of records, their numbers in the order of coming."""

    source: object
    start: int
    end: int


class Stream:
    """What the lanes of one joiner share: the place and metadata of what is being read, and the finished records."""

    __slots__ = (
        *("buffer_limit", "end", "finished", "held_lines", "metadata"),
        *("now_ns", "source", "start", "vanished_lines"),
    )

    def __init__(self, buffer_limit: int, now_ns: Callable[[], int]) -> None:
        self.buffer_limit = buffer_limit
        self.now_ns = now_ns
        self.source: object = 0
        self.start = 0
        self.end = 0
        self.held_lines = 0
        self.vanished_lines = 0
        self.metadata: Body | None = None
        self.finished: list[Joined] = []


class Held(msgspec.Struct):
    """A span of pending lines; `order` grows with the time at which its first line was read."""

    order: int
    source: object
    start: int
    end: int


class Group:
    """The pending lines of one group; it is open while it holds any.

    `parts` are the non-empty pieces of the text, `text_size` their bytes where a limit counts. `fields` are those of
    the first line if a sub-parser made any. `state` is that of the rules and outlives the message. `deadline` is None
    until the reader has reached the end.
    """

    __slots__ = ("deadline", "fields", "held", "metadata", "parts", "size", "state", "text_size", "time_ns")

    def __init__(self) -> None:
        self.state: RuleState | None = None
        self.clear()

    def clear(self) -> None:
        """Hold nothing any more; the state of the rules stays."""
        self.held: list[Held] = []
        self.parts: list[str] = []
        self.fields: Body | None = None
        self.metadata: Body | None = None
        self.time_ns = 0
        self.size = 0
        self.text_size = 0
        self.deadline: float | None = None

    @property
    def needs_newline(self) -> bool:
        """Whether there is text that does not end with a newline."""
        return bool(self.parts) and not self.parts[-1].endswith("\n")


class Lane(ABC):
    """One definition at work in one stream."""

    def __init__(self, definition: MultilineDefinition, stream: Stream) -> None:
        self.name = definition.name
        self.flush_timeout_s = definition.flush_timeout_s
        self._stream = stream
        self._parse = definition.parser.parse if definition.parser else None
        self._key_content = definition.key_content or _DEFAULT_KEY
        self._key_pattern = definition.key_pattern
        self._key_group = definition.key_group
        self._adds_newlines = definition.key_content is None
        self.needles = definition.rules.needles or () if definition.type == "regex" else ()
        self._default_group = Group()
        self._named_groups: dict[str, Group] = {}
        self.groups = [self._default_group]

    @property
    def begins_by_needles(self) -> bool:
        """Whether a message can only begin, in the text as it is, with a line that has one of `needles`."""
        is_plain = self._parse is None and self._key_pattern is None
        return is_plain and bool(self.needles) and all(group.state is None for group in self.groups)

    def offer(self, line: str) -> bool:
        """Take the line if it is of this definition's form."""
        if self._parse is None:
            return self._accept(self._default_group, line, line, None, None)
        parsed = self._parse(line)
        if parsed is None:
            return False
        time_ns, fields = parsed
        return self._accept_fields(fields, time_ns)

    def offer_record(self, record: Record) -> bool:
        """Take the record if its text is of this definition's form."""
        if self._parse is None:
            return self._accept_fields(record.body, record.time_ns)
        text = record.body.get(self._key_content)
        parsed = self._parse(text) if isinstance(text, str) else None
        if parsed is None:
            return False
        time_ns, fields = parsed
        return self._accept_fields(fields, record.time_ns if time_ns is None else time_ns)

    def _accept_fields(self, fields: Body, time_ns: int | None) -> bool:
        content = fields.get(self._key_content)
        if not isinstance(content, str):
            return False
        compared = content
        if self._key_pattern is not None and isinstance(pattern := fields.get(self._key_pattern), str):
            compared = pattern
        group = self._default_group
        if self._key_group is not None and isinstance(group_name := fields.get(self._key_group), str):
            group = self._named_groups.get(group_name) or self._new_group(group_name)
        return self._accept(group, content, compared, fields, time_ns)

    def flush(self, group: Group, truncated: bool = False) -> None:
        """Finish the message of the group, if it has lines."""
        if not group.held:
            return
        stream = self._stream
        text = "".join(group.parts)
        body = group.fields
        if body is not None:
            if text:
                body[self._key_content] = text
        elif text:
            newline = "\n" if self._adds_newlines and not text.endswith("\n") else ""
            body = {self._key_content: text + newline}
        if body is None:
            stream.vanished_lines += 1
        else:
            stream.finished.append(Joined(group.time_ns, body, group.size, stream.start, truncated, group.metadata))
        group.clear()

    def flush_all(self, truncated: bool = False) -> None:
        """Finish the messages of all groups."""
        for group in self.groups:
            self.flush(group, truncated)

    def stand_alone(self, line: str) -> None:
        """Finish a line that no definition accepts as a record of its own; a line without text vanishes."""
        stream = self._stream
        if not line:
            stream.vanished_lines += 1
            return
        text, _ = _cut(line, stream.buffer_limit) if stream.buffer_limit else (line, 0)
        body = {self._key_content: text + "\n" if self._adds_newlines else text}
        size = stream.end - stream.start
        stream.finished.append(Joined(stream.now_ns(), body, size, stream.start, len(text) < len(line)))

    @abstractmethod
    def _accept(self, group: Group, content: str, compared: str, fields: Body | None, time_ns: int | None) -> bool:
        """Add the content to the group's message, or decline it."""

    def _new_group(self, name: str) -> Group:
        # More groups than Fluent Bit allows would lose lines there; here they share the default group.
        if len(self.groups) >= _MOST_GROUPS:
            return self._default_group
        group = self._named_groups[name] = Group()
        self.groups.append(group)
        return group

    def _hold(self, group: Group, fields: Body | None, time_ns: int | None) -> None:
        """Note that the line being read belongs to the group; the first line's fields are kept."""
        stream = self._stream
        start, end = stream.start, stream.end
        last = group.held[-1] if group.held else None
        if last is not None and last.end == start and last.source == stream.source:
            last.end = end
        else:
            stream.held_lines += 1
            group.held.append(Held(stream.held_lines, stream.source, start, end))
        group.size += end - start
        group.deadline = None
        if stream.metadata:
            group.metadata = {**group.metadata, **stream.metadata} if group.metadata else stream.metadata
        if fields is None:
            group.time_ns = stream.now_ns()
        elif group.fields is None:
            group.fields = fields
            group.time_ns = self._record_time(time_ns)

    def _record_time(self, time_ns: int | None) -> int:
        if time_ns is None or not 0 < time_ns < _END_OF_RANGE_NS:
            return self._stream.now_ns()
        return time_ns


class EndLane(Lane):
    """endswith and equal: a message ends with a line that matches."""

    def __init__(self, definition: MultilineDefinition, stream: Stream) -> None:
        super().__init__(definition, stream)
        self._match_string = definition.match_string
        self._is_equal = definition.type == "equal"
        self._negate = definition.negate

    def _accept(self, group: Group, content: str, compared: str, fields: Body | None, time_ns: int | None) -> bool:
        if self._is_equal:
            is_last = (compared == self._match_string) is not self._negate
        elif fields is not None and len(compared) < len(self._match_string):
            return False
        else:
            is_last = compared.endswith(self._match_string) is not self._negate
        if is_last and fields is not None and not group.held:
            stream = self._stream
            size = stream.end - stream.start
            stream.finished.append(
                Joined(self._record_time(time_ns), fields, size, stream.start, False, stream.metadata)
            )
            return True
        if content:
            if self._adds_newlines and group.needs_newline:
                group.parts.append("\n")
            group.parts.append(content)
        self._hold(group, fields, time_ns)
        if is_last:
            self.flush(group)
        return True


class RuleLane(Lane):
    """regex: rules say which lines begin a message and which ones continue it."""

    def __init__(self, definition: MultilineDefinition, stream: Stream) -> None:
        super().__init__(definition, stream)
        self._rules = definition.rules

    def _accept(self, group: Group, content: str, compared: str, fields: Body | None, time_ns: int | None) -> bool:
        state = self._rules.go_on(group.state, content) if group.state is not None else None
        if state is not None:
            text = ("\n" if group.needs_newline else "") + (content or "\n")
        else:
            state = self._rules.start(content)
            if state is None:
                return False
            self.flush(group)
            text = content
        self._hold(group, fields, time_ns)
        fits = self._add(group, text)
        group.state = state if fits else None
        if state.completes or not fits:
            self.flush(group, truncated=not fits)
        return True

    def _add(self, group: Group, text: str) -> bool:
        """Add as much of the text as fits; false if some of it did not."""
        limit = self._stream.buffer_limit
        added, size = _cut(text, limit - group.text_size) if limit else (text, 0)
        group.text_size += size
        if added:
            group.parts.append(added)
        return len(added) == len(text)


def _cut(text: str, most: int) -> tuple[str, int]:
    """The beginning of the text that is at most so many bytes of whole characters, and its size in bytes."""
    if text.isascii():
        return (text, len(text)) if len(text) <= most else (text[:most], most)
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= most:
        return text, len(encoded)
    while encoded[most] & 0xC0 == 0x80:
        most -= 1
    return encoded[:most].decode("utf-8", "surrogatepass"), most
