"""Variables in configuration values: where they come from, and how `${NAME}` is replaced."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec

from ..errors import Origin
from .files import read_file

_FILE_PREFIX = "file://"


class Setting(msgspec.Struct, frozen=True):
    """A variable that a configuration file sets, and where it does so."""

    name: str
    value: str
    origin: Origin


class Expanded(msgspec.Struct, frozen=True):
    """A text after expansion, the names of the variables that were used, and of those without a value, each once."""

    text: str
    unset: tuple[str, ...] = ()
    used: tuple[str, ...] = ()


class Environment:
    """The variables of one load of a configuration.

    What the configuration sets wins over the process environment; `HOSTNAME` is the name of this host where the process
    environment has none. A variable that is empty counts as unset.
    """

    def __init__(self, process: Mapping[str, str], host_name: str | None = None) -> None:
        self._process = {"HOSTNAME": socket.gethostname() if host_name is None else host_name, **process}
        self._set: dict[str, str] = {}

    def set(self, name: str, value: str) -> None:
        """Set a variable; `file://PATH` stands for the content of that file.

        Raises `ValueError` when the file cannot be read or is empty.
        """
        self._set[name] = _file_content(value) if value.startswith(_FILE_PREFIX) else value

    def get(self, name: str) -> str:
        """The value of a variable, empty if it is not set."""
        return self._set[name] if name in self._set else self._process.get(name, "")

    def remark(self, name: str) -> str:
        """What to tell of a variable that is used and has no value."""
        is_set = name in self._set or name in self._process
        return f"[env] variable ${{{name}}} is {'empty' if is_set else 'used but not set'}"

    def expand(self, text: str) -> Expanded:
        """Replace `${NAME}` and `${NAME:-default}`.

        The closing brace is looked for from where the last variable ended and not from the `${`. That is how Fluent Bit
        does it, so `{"a":"}${HOME}"}` stays as it is. Values are inserted literally and not expanded again.
        """
        pieces: list[str] = []
        unset: dict[str, None] = {}
        used: dict[str, None] = {}
        position = 0
        while True:
            start, end = text.find("${", position), text.find("}", position)
            if start < 0 or end < start + 3:  # nothing left, not closed, closed before it begins, or without a name
                break
            name, has_default, default = text[start + 2 : end].partition(":-")
            value = self.get(name)
            used[name] = None
            if not value and not has_default:
                unset[name] = None
            pieces += (text[position:start], value or default)
            position = end + 1
        pieces.append(text[position:])
        return Expanded("".join(pieces), tuple(unset), tuple(used))

    def expand_with(self, text: str, settings: Iterable[Setting]) -> Expanded:
        """Replace variables as if these had been set, too; those that cannot be are left out."""
        environment = Environment(self._process)
        environment._set = dict(self._set)
        for setting in settings:
            with suppress(ValueError):  # told by whoever sets it for good
                environment.set(setting.name, setting.value)
        return environment.expand(text)

    def __repr__(self) -> str:
        return f"Environment({len(self._process)} of the process, set: {sorted(self._set)})"


def _file_content(uri: str) -> str:
    path = uri.removeprefix(_FILE_PREFIX)
    try:
        content = read_file(path).decode()
    except OSError as error:
        raise ValueError(f"{uri!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{uri!r} is not UTF-8") from error
    content = content.removesuffix("\n")
    if not content:
        raise ValueError(f"{uri!r} is empty")
    return content
