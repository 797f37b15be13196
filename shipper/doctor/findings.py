"""What the doctor has to say."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that is going to hurt: where it was found, what is wrong there, and what to do about it."""

    place: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f" - {self.remedy}" if self.remedy else ""
        return f"{self.place}: {self.message}{remedy}"
