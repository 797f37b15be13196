"""What outputs are called in stored files, so that what is stored for one is never given to another.

An alias is such a name itself. An output without one is called by plugin and number, which tells nothing once another
output is put before it or taken away. So beside the logs it is kept where each name has sent to, and an output goes by
the name that its destination has there, whatever its number is. A name that meant another destination is not taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ...config.destination import Destination
from ...disk import Disk
from .files import PRIVATE, read_all, release, write_all
from .names import outputs_folder

Known = dict[str, tuple[str, str]]
"""By stored name the destination that it stands for: `place` and `whole`, see `Destination`."""


def stored_names(outputs: Sequence[Destination], known: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """By name of an output what it is called in stored files.

    An alias stands for itself. Of the others the one that was written in the same words comes first, then one with the
    same place, its own name before others. A name that nobody knows is taken as it is; so is every name of a storage
    that was written before there were any of these. Where a plugin has the numbers that it had before, none of its
    outputs was put in or taken away: one that sends elsewhere now was changed, and what it is owed goes there.
    """
    found = {output.name: output.name for output in outputs if output.has_alias}
    for has_same in (_is_same, _is_at_same_place):
        for output in outputs:
            if output.name not in found:
                taken = set(found.values())
                names = (name for name in _own_first(output, known) if name not in taken)
                if (name := next((n for n in names if has_same(output, known[n])), None)) is not None:
                    found[output.name] = name
    numbered = {output.name for output in outputs if not output.has_alias}
    for output in outputs:
        if output.name not in found:
            may_be_taken = output.name not in known or _of_plugin(output.name, numbered) == _of_plugin(
                output.name, known
            )
            is_free = may_be_taken and output.name not in found.values()
            found[output.name] = output.name if is_free else f"{output.name}~{output.place}"
    return found


def load_known(disk: Disk, path: str) -> Known:
    """What is known below this storage.path, nothing if it cannot be understood; raises `OSError`."""
    try:
        return msgspec.json.decode(read_all(disk, _file(path)), type=Known)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def save_known(disk: Disk, path: str, known: Known) -> None:
    """Replace what is known; raises `OSError`."""
    disk.mkdirs(outputs_folder(path))
    fresh = f"{_file(path)}.new"
    fd = disk.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
    try:
        write_all(disk, fd, msgspec.json.format(msgspec.json.encode(known)))
        disk.fsync(fd)
    finally:
        release(disk, fd)
    disk.rename(fresh, _file(path))


def _file(path: str) -> str:
    return f"{outputs_folder(path)}/names"


def _own_first(output: Destination, known: Iterable[str]) -> list[str]:
    return sorted(known, key=lambda name: (name != output.name, name))


def _of_plugin(name: str, names: Iterable[str]) -> set[str]:
    """The names of plugin and number that are of the same plugin as this one."""
    plugin, _, _ = name.rpartition(".")
    return {one for one in names if one.rpartition(".")[0] == plugin and one.rpartition(".")[2].isdecimal()}


def _is_same(output: Destination, known: tuple[str, str]) -> bool:
    return (output.place, output.whole) == known


def _is_at_same_place(output: Destination, known: tuple[str, str]) -> bool:
    return output.place == known[0]
