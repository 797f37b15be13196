"""Log lines as operators of Fluent Bit know them: `[time] [level] [kind:plugin:instance] message, key=value`."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

TRACE = 5
OFF = 100
LEVELS = {
    "off": OFF,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
_SHOWN = {
    logging.ERROR: "error",
    logging.WARNING: " warn",
    logging.INFO: " info",
    logging.DEBUG: "debug",
    TRACE: "trace",
}
_COLOURS = {logging.ERROR: "\x1b[91m", logging.WARNING: "\x1b[93m", logging.INFO: "\x1b[92m"}
_LONGEST = 4000
_REMEMBERED = 10
"""Lines of one log that others may be like."""


class LineFormatter(logging.Formatter):
    """`[YYYY/MM/DD HH:MM:SS.mmm] [level] message`, local time, cut at about 4 KB.

    What cannot be shown is written as an escape, because names and words of others are in messages: none of them may
    begin a line of its own or talk to a terminal. Only a traceback has several lines.
    """

    def __init__(self, coloured: bool = False) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(record.created))
        level = _SHOWN.get(record.levelno, record.levelname.lower())
        message = record.getMessage()
        if len(message) > _LONGEST:
            message = message[:_LONGEST] + " ..."
        message = _escaped(message)
        if record.exc_info:
            lines = self.formatException(record.exc_info).split("\n")
            message = "\n".join([message, *map(_escaped, lines)])
        if self._coloured and (colour := _COLOURS.get(record.levelno)):
            level = f"{colour}{level}\x1b[0m"
        return f"[{when}.{int(record.msecs):03d}] [{level}] {message}"


def _escaped(text: str) -> str:
    """The text with line feeds, control characters and lone surrogates as `\\n`, `\\x1b` and `\\udcff`."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else c.encode("unicode_escape").decode() for c in text])


class _StreamHandler(logging.StreamHandler[TextIO]):
    """Writes on a stream as long as somebody reads it; losing the reader is no reason to lose anything else."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            _let_go(self.stream, error)
        else:
            super().handleError(record)


def tell(text: str) -> None:
    """Print a text on stderr that is no log line, if anybody can still read it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError as error:
        _let_go(sys.stderr, error)


def _let_go(stream: TextIO, error: OSError) -> None:
    """Send what is still written on a stream nowhere if its reader is gone for good.

    What the stream holds back would otherwise be tried again at the end of the process, and fail its exit code.
    """
    if isinstance(error, BrokenPipeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def configure(level: str, target: TextIO | str | None = None) -> None:
    """Send the project's log lines to a stream (default: stderr) or append them to the file of that name.

    Raises `OSError` if the file cannot be opened.
    """
    handler: logging.Handler
    if isinstance(target, str):
        handler = logging.FileHandler(target)
        handler.setFormatter(LineFormatter())
    else:
        stream = target or sys.stderr
        handler = _StreamHandler(stream)
        handler.setFormatter(LineFormatter(coloured=stream.isatty()))
    root = logging.getLogger("shipper")
    for old in [one for one in root.handlers if isinstance(one.formatter, LineFormatter)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    root.propagate = False


class _Suppression(logging.Filter):
    """Keeps back lines that are like one of the last few, within an interval; one that comes later tells how many.

    Two lines of a level are alike when the earlier one begins with the first half of the later one, as in Fluent Bit;
    what all lines of a log begin with does not count. `_recent` has when each was printed and how many like it were
    kept back, by level and text, those first that nothing was like for the longest time.
    """

    def __init__(self, prefix: str, interval_s: float, now: Callable[[], float]) -> None:
        super().__init__()
        self._prefix = prefix
        self.interval_s = interval_s
        self._now = now
        self._recent: dict[tuple[int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is printed."""
        now, level, whole = self._now(), record.levelno, record.getMessage()
        text = whole.removeprefix(self._prefix)
        known = self._like(level, text)
        printed_at, kept_back = self._recent.pop(known, (now, 0)) if known else (now, 0)
        if known and now - printed_at < self.interval_s:
            self._recent[known] = printed_at, kept_back + 1
            return False
        if len(self._recent) >= _REMEMBERED:
            self._recent.pop(next(iter(self._recent)), None)
        self._recent[level, text] = now, 0
        if kept_back:
            record.msg, record.args = "%s, similar=%d", (whole, kept_back)
        return True

    def _like(self, level: int, text: str) -> tuple[int, str] | None:
        half = text[: (len(text) + 1) // 2]
        return next((known for known in list(self._recent) if known[0] == level and known[1].startswith(half)), None)


class Log:
    """The log of one component; its prefix names kind, plugin and instance.

    Fields are appended as `key=value`. A line given `every=SECONDS` is printed at most once in that time for the same
    message text; what was left out is told with the next one.
    """

    __slots__ = ("_logger", "_now", "_prefix", "_recent")

    def __init__(self, prefix: str, name: str = "shipper", now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logging.getLogger(name if name.startswith("shipper") else f"shipper.{name}")
        self._prefix = prefix
        self._now = now
        self._recent: dict[str, tuple[float, int]] = {}

    def set_level(self, level: str | None) -> None:
        """Print from this level on, whatever the service's level is; None is the service's level."""
        self._logger.setLevel(logging.NOTSET if level is None else LEVELS[level])

    def suppress(self, interval_s: float) -> None:
        """Print lines that are alike once in this time, whoever writes them under this name; 0 is every time."""
        found = [one for one in self._logger.filters if isinstance(one, _Suppression)]
        if [one.interval_s for one in found] == [interval_s]:
            return
        for old in found:
            self._logger.removeFilter(old)
        if interval_s > 0:
            self._logger.addFilter(_Suppression(self._prefix, interval_s, self._now))

    def is_on(self, level: str) -> bool:
        return self._logger.isEnabledFor(LEVELS[level])

    def trace(self, message: str, *, every: float = 0, **fields: Any) -> None:
        self._write(TRACE, message, every, fields)

    def debug(self, message: str, *, every: float = 0, **fields: Any) -> None:
        self._write(logging.DEBUG, message, every, fields)

    def info(self, message: str, *, every: float = 0, **fields: Any) -> None:
        self._write(logging.INFO, message, every, fields)

    def warning(self, message: str, *, every: float = 0, **fields: Any) -> None:
        self._write(logging.WARNING, message, every, fields)

    def error(self, message: str, *, every: float = 0, **fields: Any) -> None:
        self._write(logging.ERROR, message, every, fields)

    def exception(self, message: str, *, every: float = 0, **fields: Any) -> None:
        """An error line with the traceback of the exception being handled."""
        self._write(logging.ERROR, message, every, fields, with_traceback=True)

    def _write(
        self, level: int, message: str, every: float, fields: dict[str, Any], with_traceback: bool = False
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        if every:
            now = self._now()
            last, left_out = self._recent.get(message, (-every, 0))
            if now - last < every:
                self._recent[message] = (last, left_out + 1)
                return
            if len(self._recent) > 200:
                self._recent.clear()
            self._recent[message] = (now, 0)
            if left_out:
                fields = {**fields, "repeated": left_out}
        self._logger.log(level, "%s%s%s", self._prefix, message, _told(fields), exc_info=with_traceback)


def _told(fields: dict[str, Any]) -> str:
    return "".join(f", {key}={value}" for key, value in fields.items())
