"""The lines that Docker's json-file driver writes: one JSON object with log, stream, time and attributes."""

from __future__ import annotations

from .base import Parsed, Parser
from .container_time import container_time_ns
from .json_object import read_object


class DockerParser(Parser):
    """Reads a JSON object; its `time`, if that can be read, is the time of the record and stays a field."""

    name = "docker"

    def parse(self, text: str) -> Parsed | None:
        """The time and the fields, or None if the text does not begin with a JSON object."""
        fields = read_object(text)
        if fields is None:
            return None
        time = fields.get("time")
        return container_time_ns(time, False) if isinstance(time, str) else None, fields
