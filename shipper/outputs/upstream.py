"""Several servers in place of one: the file that the option `upstream` names, and whose turn it is.

The file has a section `[UPSTREAM]` with a name, and a section `[NODE]` for each server. A node has a name, host and
port, and any option of the output that is different for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from ..config.options import declared_options, read_value
from ..errors import OptionError
from .base import NetworkOptions

O = TypeVar("O", bound=NetworkOptions)  # noqa: E741
T = TypeVar("T")

_MOST_BYTES = 1_000_000


class Turns(Generic[T]):
    """Gives out its members in turns, so that each attempt goes to another one."""

    def __init__(self, members: list[T]) -> None:
        self.members = members
        self._next = 0

    def take(self) -> T:
        """The member whose turn it is."""
        taken = self.members[self._next % len(self.members)]
        self._next += 1
        return taken


def options_of_nodes(options: O, path: str | None) -> list[O]:
    """The options of the output for each node of the file, or the options alone if there is no file.

    Raises `OptionError` for a file that cannot be used.
    """
    if path is None:
        return [options]
    nodes = [_with(options, node, path) for node in _read_nodes(path)]
    if not nodes:
        raise OptionError("upstream", f"{path} names no node", "add a section [NODE] with name, host and port")
    return nodes


def _read_nodes(path: str) -> list[list[tuple[str, str]]]:
    try:
        text = Path(path).read_text("utf-8")[:_MOST_BYTES]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError("upstream", f"{path} cannot be read: {error}") from error
    nodes: list[list[tuple[str, str]]] = []
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip().lower()
            if section == "node":
                nodes.append([])
        elif line and not line.startswith("#") and section == "node":
            key, _, value = line.partition(" ")
            nodes[-1].append((key.lower(), value.strip()))
    return nodes


def _with(options: O, node: list[tuple[str, str]], path: str) -> O:
    """The options with what the node has of its own."""
    declared = {d.name: d for d in declared_options(type(options))}
    changes = {}
    for key, text in node:
        if key == "name" or not text:
            continue
        if key not in declared or declared[key].is_list:
            raise OptionError("upstream", f"{path}: a node has no option {key!r}")
        try:
            changes[declared[key].field] = read_value(declared[key].type, text)
        except ValueError as error:
            raise OptionError("upstream", f"{path}: {key}: {error}") from error
    if not {"host", "port"} <= set(changes):
        raise OptionError("upstream", f"{path}: a node lacks host or port")
    return msgspec.structs.replace(options, **changes)
