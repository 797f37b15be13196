"""Maps of the YAML format as sections: the same properties that the classic format would give."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import yaml

from ..errors import Origin
from .model import Kind, Property, Section
from .options import did_you_mean
from .yaml_nodes import YamlFile, is_empty, is_refused

_SIGNALS = ("logs", "metrics", "traces", "profiles")
_RULE_KEYS = ("state", "regex", "next_state")
_ESCAPED_OR_QUOTE = re.compile(r'(\\.)|"', re.DOTALL)
_UPPER = re.compile("[A-Z]")


def spelled_key(key: str) -> str:
    """A key as options are called: camelCase becomes snake_case, anything else lower case."""
    if "_" not in key and key[:1].islower():
        key = _UPPER.sub(lambda found: f"_{found[0]}", key)
    return key.lower()


class SectionReader:
    """Reads the maps of one file; mistakes are problems of the file, remarks go to `warn`."""

    def __init__(self, file: YamlFile, warn: Callable[[str], None]) -> None:
        self._file = file
        self._warn = warn

    def service(self, node: yaml.Node) -> list[Property]:
        """The properties of a `service` map; each has one value."""
        found: list[Property] = []
        for written, origin, value in self._file.pairs(node, "service"):
            key = spelled_key(written)
            if isinstance(value, yaml.ScalarNode):
                if not is_refused(value):
                    found.append(Property(key, value.value, origin))
            elif key != "telemetry":
                shape = "list" if isinstance(value, yaml.SequenceNode) else "map"
                message = f"could not configure service property '{key}': it takes one value, not a {shape}"
                remedy = "repeat the key for every value" if shape == "list" else "write: key: value"
                self._file.problem(origin, message, remedy)
        return found

    def section(self, kind: Kind, node: yaml.Node) -> Section | None:
        """The section of one item of a list of plugins or parsers; None, with the problem told, if it is no map."""
        if not isinstance(node, yaml.MappingNode):
            if is_empty(node):
                self._file.problem(self._file.origin(node), f"an item of the {kind}s is empty", "write: - name: NAME")
            else:
                self._exhaust(node, f"an item of the {kind}s")
            return None
        section = Section(kind, self._file.origin(node), [])
        for written, origin, value in self._file.pairs(node, f"an item of the {kind}s"):
            self._add(section, spelled_key(written), origin, value)
        if not section.properties:
            self._warn(f"{section.origin}: section '{kind}' has no keys")
        return section

    def _exhaust(self, node: yaml.Node, what: str) -> None:
        for _ in self._file.pairs(node, what):
            pass

    def _add(self, section: Section, key: str, origin: Origin, value: yaml.Node) -> None:
        kind = section.kind
        if key == "processors" and kind in ("input", "output"):
            section.processors += self._processors(value)
        elif key == "routes" and kind in ("input", "output"):
            self._file.problem(origin, "'routes' is not available yet", "route with tags: match or match_regex")
        elif key == "condition" and kind == "filter" and isinstance(value, yaml.MappingNode):
            section.condition = self._condition(value)
        elif key == "rules" and kind == "multiline_parser":
            section.properties += self._rules(value)
        elif key == "<<" and not is_refused(value):
            self._file.problem(origin, "merge keys ('<<') are not supported", "write the keys out")
        else:
            section.properties += self._properties(section, key, origin, value)

    def _properties(self, section: Section, key: str, origin: Origin, value: yaml.Node) -> Iterator[Property]:
        """One property for a text, one for each text of a list; nothing else can be a value."""
        if is_refused(value):
            return
        if isinstance(value, yaml.ScalarNode):
            yield Property(key, value.value, origin)
            return
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for item in items:
            if not isinstance(item, yaml.ScalarNode):
                self._nested(section, key, item)
            elif not is_refused(item):
                yield Property(key, item.value, self._file.origin(item))

    def _nested(self, section: Section, key: str, node: yaml.Node) -> None:
        name = f" with section name '{section.get('name')}'" if section.get("name") else ""
        shape = "map" if isinstance(node, yaml.MappingNode) else "list"
        message = f"could not configure property '{key}' on {section.kind} plugin{name}: it cannot hold a {shape}"
        self._file.problem(self._file.origin(node), message, "write a text, or a list of texts")

    def _processors(self, node: yaml.Node) -> Iterator[Section]:
        for signal, origin, units in self._file.pairs(node, "processors"):
            if signal.lower() == "logs":
                yield from (unit for item in self._file.items(units, "logs") if (unit := self._unit(item)))
            elif signal.lower() in _SIGNALS:
                self._warn(f"{origin}: processors of {signal} are ignored: there are only logs")
            else:
                message = f"processors of '{signal}' are not known"
                self._file.problem(origin, message, did_you_mean(signal, _SIGNALS))

    def _unit(self, node: yaml.Node) -> Section | None:
        """One processor: a section like that of a filter."""
        if not isinstance(node, yaml.MappingNode):
            self._exhaust(node, "a processor")
            return None
        unit = Section("filter", self._file.origin(node), [])
        for written, origin, value in self._file.pairs(node, "a processor"):
            self._add(unit, spelled_key(written), origin, value)
        return unit

    def _condition(self, node: yaml.Node) -> Section:
        """The condition of a filter: a section whose rules are sections with the keys field, op and value."""
        condition = Section("condition", self._file.origin(node), [])
        for written, origin, value in self._file.pairs(node, "a condition"):
            key = spelled_key(written)
            if key == "rules":
                items = self._file.items(value, "the rules of a condition")
                condition.rules += [self._condition_rule(item) for item in items]
            else:
                condition.properties += self._properties(condition, key, origin, value)
        return condition

    def _condition_rule(self, node: yaml.Node) -> Section:
        rule = Section("condition", self._file.origin(node), [])
        for written, origin, value in self._file.pairs(node, "a rule of a condition"):
            key = spelled_key(written)
            rule.properties += self._properties(rule, key, origin, value)
        return rule

    def _rules(self, node: yaml.Node) -> Iterator[Property]:
        for item in self._file.items(node, "rules"):
            parts: dict[str, str | None] = {}  # None for what has been told to be no text
            for written, origin, value in self._file.pairs(item, "a rule"):
                key = spelled_key(written)
                if key not in _RULE_KEYS:
                    self._warn(f"{origin}: unknown key '{written}' of a rule is ignored")
                else:
                    parts[key] = self._file.text(value, f"'{key}' of a rule")
            missing = [key for key in _RULE_KEYS[:2] if key not in parts or parts[key] == ""]
            if isinstance(item, yaml.MappingNode) and missing:
                remedy = "for example: - {state: start_state, regex: '/^[0-9]/', next_state: cont}"
                self._file.problem(self._file.origin(item), f"a rule needs {' and '.join(missing)}", remedy)
            elif parts and None not in parts.values():
                words = [word for key in _RULE_KEYS if (word := parts.get(key))]
                yield Property("rule", " ".join(map(_quoted, words)), self._file.origin(item))


def _quoted(word: str) -> str:
    r"""A word in quotes as the classic format writes it; a quote inside becomes `\"` if it is not that already."""
    return '"' + _ESCAPED_OR_QUOTE.sub(lambda found: found[1] or '\\"', word) + '"'
