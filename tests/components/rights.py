"""The rights of another user for a while, in the process of the test itself."""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAC_READ_SEARCH = 2
"""The number of the capability to read and search everything."""

_NOBODY = 65534
_VERSION_3 = 0x20080522


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="shipper-rights-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def another_user(capability: int | None = None) -> Iterator[None]:
    """Take root's rights away from this process, but for one capability of this thread; others than root stay."""
    if os.geteuid() != 0:
        assert capability is None
        yield
        return
    os.setresuid(_NOBODY, _NOBODY, 0)
    try:
        if capability is not None:
            _take(capability)
        yield
    finally:
        os.setresuid(0, 0, 0)


def _take(capability: int) -> None:
    """Make one of the permitted capabilities effective."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("<Ii", _VERSION_3, 0)
    kept = ctypes.create_string_buffer(24)
    assert libc.capget(header, kept) == 0
    sets = list(struct.unpack("<6I", kept.raw))
    sets[0] = 1 << capability
    assert libc.capset(header, struct.pack("<6I", *sets)) == 0
