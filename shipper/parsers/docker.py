"""The lines that Docker's json-file driver writes: one JSON object with log, stream, time and attributes."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from .base import Parsed, Parser
from .container_time import container_time_ns


class DockerParser(Parser):
    """Reads a JSON object; its `time`, if that can be read, is the time of the record and stays a field."""

    name = "docker"

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    def parse(self, text: str) -> Parsed | None:
        """The time and the fields, or None if the text is no JSON object."""
        try:
            fields = self._decode(text)
        except msgspec.DecodeError:
            return None
        except UnicodeEncodeError:
            # The line holds bytes that are not UTF-8; only the decoder of the standard library lets them pass.
            broken = _object_or_none(text)
            if broken is None:
                return None
            fields = broken
        time = fields.get("time")
        return container_time_ns(time, False) if isinstance(time, str) else None, fields


def _object_or_none(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
