"""What to do about a file or folder that may not be read."""

from __future__ import annotations

READ_REMEDY = "give the process the capability DAC_READ_SEARCH, or a group that may read it"


def remedy_of(error: OSError) -> str:
    """What helps against a read error, to be put behind its message; empty if permissions are not the matter."""
    return f"; {READ_REMEDY}" if isinstance(error, PermissionError) else ""
