"""Where things are below `storage.path`.

Everything of ours is two levels deep, because Fluent Bit takes every file in every folder of its storage.path for a
chunk of its own.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote

from ...disk import Disk

LOGS = "shipper"
QUARANTINE = "quarantine"

_LONGEST = 200
_OWN = "."


def safe_name(name: str) -> str:
    """A name that can be a folder and tells the original; what is not plain stands as %XX, long ones have a digest."""
    quoted = quote(name, safe="")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) > _LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        quoted = f"{quoted[: _LONGEST - 20]}...{digest}"
    return quoted or "%00"


def log_folder(path: str, name: str) -> str:
    """The folder for the log of this input."""
    return f"{path}/{LOGS}/{safe_name(name)}"


def quarantine_folder(path: str, name: str) -> str:
    """The folder for damaged files of this input."""
    return f"{path}/{QUARANTINE}/{safe_name(name)}"


def chunks_folder(path: str) -> str:
    """The folder for what we must remember about chunk files that Fluent Bit has left."""
    return f"{path}/{LOGS}/{_OWN}chunks"


def outputs_folder(path: str) -> str:
    """The folder for what we must remember about outputs."""
    return f"{path}/{LOGS}/{_OWN}outputs"


def stored_inputs(disk: Disk, path: str) -> list[str]:
    """The names of all inputs that have a log below this storage.path, of earlier configurations too."""
    try:
        names = disk.listdir(f"{path}/{LOGS}")
    except FileNotFoundError:
        return []
    return sorted(unquote(name) for name in names if not name.startswith(_OWN))
