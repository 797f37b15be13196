"""Where an API server of Kubernetes is, as configurations write it."""

from __future__ import annotations

import re
from typing import Self

import msgspec

_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[^:/\[\]\s]+)(?::([0-9]+))?(?:/.*)?", re.IGNORECASE)


class KubeUrl(msgspec.Struct, frozen=True):
    """Where the API server is."""

    shown_as = "URL"
    text: str
    host: str
    port: int
    is_tls: bool
    has_port: bool = True

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `https://host:port`; without a port it is 443, for http too. Raises `ValueError` for anything else."""
        found = _URL.fullmatch(text.strip())
        if not found:
            raise ValueError(f"{text!r} is not the URL of an API server; it begins with http:// or https://")
        return cls(text, found[2].strip("[]"), int(found[3] or 443), found[1].lower() == "https", found[3] is not None)

    def __str__(self) -> str:
        return self.text
