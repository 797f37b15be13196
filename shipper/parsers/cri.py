"""The lines that CRI runtimes (containerd, CRI-O) write: time, stream, whether the line is whole, text."""

from __future__ import annotations

import re

from .base import Parsed, Parser
from .container_time import container_time_ns

_LINE = re.compile(r"^(.+?) (stdout|stderr) (F|P) (.*)$", re.MULTILINE)


class CriParser(Parser):
    """Reads `TIME stdout|stderr F|P TEXT` into the fields `time`, `stream`, `_p` and `log`."""

    name = "cri"

    def parse(self, text: str) -> Parsed | None:
        """The time and the four fields; the time is None if its text cannot be read."""
        # Splitting takes half the time of the regular expression, and decides all lines that runtimes really write.
        fields = text.split(" ", 3)
        if len(fields) == 4 and fields[1] in ("stdout", "stderr") and fields[2] in ("F", "P") and "\n" not in text:
            time, stream, part, log = fields
            if time:
                return container_time_ns(time), {"time": time, "stream": stream, "_p": part, "log": log}
        found = _LINE.search(text)
        if not found:
            return None
        time, stream, part, log = found.groups()
        return container_time_ns(time), {"time": time, "stream": stream, "_p": part, "log": log}
