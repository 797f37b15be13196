"""The fields of a journal entry one by one, which systemd-python gives grouped by their names.

It keeps neither the order of fields that occur several times nor an entry with a datum that is no field. Its reader is
a Python object with one member, a pointer to the journal of libsystemd, so what it leaves out can be asked for there,
of the same library that it has loaded itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from systemd._reader import _Reader

Pair = tuple[str, bytes]

_HEAD_OF_AN_OBJECT = object.__basicsize__
_ONE_POINTER = ctypes.sizeof(ctypes.c_void_p)


def fields_of(journal: _Reader) -> tuple[list[Pair], int]:
    """The fields of the entry at which the library stands, as they are stored, and how many data are no fields.

    Raises `OSError` if they cannot be read, `ValueError` if names are no UTF-8 and the library gives groups only.
    """
    *_, base, _ = type(journal).__mro__
    if base.__basicsize__ != _HEAD_OF_AN_OBJECT + _ONE_POINTER:
        return _grouped(journal), 0
    pointer = ctypes.c_void_p.from_address(id(journal) + _HEAD_OF_AN_OBJECT)
    pairs, broken = [], 0
    for datum in _data(pointer):
        name, equals, value = datum.partition(b"=")
        if equals:
            pairs.append((name.decode("utf-8", "surrogateescape"), value))
        else:
            broken += 1
    return pairs, broken


def _grouped(journal: _Reader) -> list[Pair]:
    entry = journal._get_all()
    return [(name, v) for name, value in entry.items() for v in (value if isinstance(value, list) else [value])]


def _data(journal: ctypes.c_void_p) -> Iterator[bytes]:
    restart, enumerate_next = _calls()
    begin, size = ctypes.c_void_p(), ctypes.c_size_t()
    restart(journal)
    while (result := enumerate_next(journal, ctypes.byref(begin), ctypes.byref(size))) > 0:
        yield ctypes.string_at(begin, size.value)
    if result < 0:
        raise OSError(-result, os.strerror(-result))


@cache
def _calls() -> tuple[Callable[..., Any], Callable[..., int]]:
    """The calls that begin with the first datum of an entry, and that give the next one."""
    library = ctypes.CDLL(sys.modules["systemd._reader"].__file__)
    restart = library.sd_journal_restart_data
    # Older libraries have no call that passes over what is compressed in a way they do not know.
    enumerate_next = getattr(library, "sd_journal_enumerate_available_data", library.sd_journal_enumerate_data)
    restart.restype, enumerate_next.restype = None, ctypes.c_int
    return restart, enumerate_next
