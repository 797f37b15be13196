"""YAML texts as trees of nodes in which every scalar is text and every node knows its place.

Aliases are refused as Fluent Bit refuses them. A node of the wrong shape is one problem, told where it stands; whoever
asked for it gets nothing to go on with, so that a mistake is told once and the rest of the file is still looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from ..errors import Origin, Problem

_REFUSED = "refused"
_TAB_REMEDY = "indent with spaces: YAML allows no tabs there"
_QUOTE_REMEDY = "quote a text that begins with one of [ { * & ! % @ or a backtick"
_ALIAS_REMEDY = "write the value out where it is used"


class YamlFile:
    """One YAML text, and what it may be asked for; problems go to the list that was given."""

    def __init__(self, name: str, text: str, problems: list[Problem]) -> None:
        self.name = name
        self._text = text
        self._problems = problems

    def documents(self) -> list[yaml.Node]:
        """The documents of the file, up to the first mistake in its syntax."""
        found: list[yaml.Node] = []
        try:
            loader = _Loader(self._text, self)
            while loader.check_node():
                node = loader.get_node()
                if node is not None:
                    found.append(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._bad_syntax(mark.line if mark else 0, mark.column if mark else 0, error.problem or "")
        except yaml.reader.ReaderError as error:
            before = self._text[: error.position]
            column = len(before) - (before.rfind("\n") + 1)
            self._bad_syntax(before.count("\n"), column, f"control character #x{ord(self._text[error.position]):02x}")
        return found

    def pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[str, Origin, yaml.Node]]:
        """Key, its place, and value of every pair of a map; `what` says in a problem what is expected to be a map."""
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.tag == _REFUSED:
                    continue
                if isinstance(key, yaml.ScalarNode):
                    yield key.value, self.origin(key), value
                else:
                    self.problem(self.origin(key), f"a key of {what} must be a text", "write: key: value")
        elif not is_empty(node):
            self._wrong_shape(node, f"{what} must be a map", "write its keys below it, indented: key: value")

    def items(self, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
        """The items of a list; `what` says in a problem what is expected to be a list."""
        if isinstance(node, yaml.SequenceNode):
            yield from (item for item in node.value if item.tag != _REFUSED)
        elif not is_empty(node):
            self._wrong_shape(node, f"{what} must be a list", "write its items below it, each behind '- '")

    def text(self, node: yaml.Node, what: str) -> str | None:
        """The text of a scalar; None, with the problem told, if it is something else."""
        if isinstance(node, yaml.ScalarNode) and node.tag != _REFUSED:
            return str(node.value)
        self._wrong_shape(node, f"{what} must be a text", _QUOTE_REMEDY)
        return None

    def refuse_alias(self, alias: yaml.AliasEvent) -> yaml.Node:
        """Tell that aliases are not possible, and give what stands in place of the alias."""
        assert isinstance(alias.start_mark, yaml.Mark)
        node = yaml.ScalarNode(_REFUSED, "", alias.start_mark)
        self.problem(self.origin(node), f"aliases such as '*{alias.anchor}' are not supported", _ALIAS_REMEDY)
        return node

    def origin(self, node: yaml.Node) -> Origin:
        """Where a node begins."""
        mark = node.start_mark
        return Origin(self.name, mark.line + 1, mark.column + 1)

    def problem(self, origin: Origin, message: str, remedy: str = "") -> None:
        """Tell a mistake."""
        self._problems.append(Problem(message, origin, remedy))

    def _wrong_shape(self, node: yaml.Node, message: str, remedy: str) -> None:
        if node.tag != _REFUSED:
            self.problem(self.origin(node), f"YAML error: unexpected {_shape(node)}: {message}", remedy)

    def _bad_syntax(self, line: int, column: int, reason: str) -> None:
        where = f"at line {line + 1}, column {column + 1}"
        message = f"invalid YAML in file {self.name} {where}: {reason or 'it cannot be read'}"
        remedy = f"look at line {line} and {line + 1}" if line else ""
        if "cannot start any token" in reason:
            remedy = _TAB_REMEDY if "'\\t'" in reason else _QUOTE_REMEDY
        self.problem(Origin(self.name, line + 1, column + 1), message, remedy)


def is_empty(node: yaml.Node) -> bool:
    """Whether nothing was written: `key:` alone, or an alias that was refused and told."""
    return isinstance(node, yaml.ScalarNode) and not node.value and node.style is None


def is_refused(node: yaml.Node) -> bool:
    """Whether the node stands for an alias; that has been told."""
    return node.tag == _REFUSED


class _Loader(yaml.BaseLoader):
    """Composes nodes; every scalar keeps its text, and an alias is a problem of the file and not the end of it."""

    def __init__(self, text: str, file: YamlFile) -> None:
        super().__init__(text)
        self._file = file

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.anchors.clear()  # nothing refers to them, so two of one name are no mistake
        if self.check_event(yaml.AliasEvent):
            event: yaml.AliasEvent = self.get_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
            return self._file.refuse_alias(event)
        return super().compose_node(parent, index)


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "map"
    return "list" if isinstance(node, yaml.SequenceNode) else "text"
