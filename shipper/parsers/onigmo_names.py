"""The names of groups: Ruby lets several groups share one and allows any letters, Python does neither."""

from __future__ import annotations

from .onigmo_escapes import RegexError


class GroupNames:
    """The named groups in order; `given` are their names in the pattern, Python knows them by names of their own."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self._unique: list[str] = []

    def add(self, name: str, pos: int) -> str:
        """Python's name for another group of this name."""
        if name[0].isdecimal():
            raise RegexError(f"a group name cannot begin with a digit: '{name}'", pos)
        unique = name if name.isascii() else f"group{len(self.given) + 1}"
        while unique in self._unique:
            unique += "_"
        self.given.append(name)
        self._unique.append(unique)
        return unique

    def reference(self, name: str, pos: int) -> str:
        """What matches the text of the group; of several groups with that name, the last one that took part."""
        targets = self._targets(name, pos)
        if len(targets) == 1:
            return f"(?P={targets[0]})"
        return f"(?:{'|'.join(f'(?P={target})' for target in reversed(targets))})"

    def single(self, name: str, pos: int) -> str:
        """Python's name for the only group of this name."""
        targets = self._targets(name, pos)
        if len(targets) > 1:
            raise RegexError(f"there are several groups named '{name}'", pos)
        return targets[0]

    def _targets(self, name: str, pos: int) -> list[str]:
        targets = [unique for given, unique in zip(self.given, self._unique, strict=True) if given == name]
        if not targets:
            raise RegexError(f"there is no group named '{name}' before this", pos)
        return targets
