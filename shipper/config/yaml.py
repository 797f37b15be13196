"""The YAML format: `env`, `includes`, `service`, `parsers`, `multiline_parsers` and `pipeline`.

Every scalar is text, whatever YAML would make of it. A list of texts as a value is the key repeated. The documents of a
file and its repeated parts are merged; only `service` may come once in a file. An include takes effect where it stands,
and is looked up in the folder of the file that includes it.

All mistakes of all files are collected; a file with a mistake in its syntax is not read beyond that.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable

import yaml

from ..errors import Origin, Problem
from .classic import Role
from .environment import Environment, Setting
from .files import read_file
from .model import Configuration, Kind, Section
from .options import did_you_mean
from .yaml_nodes import YamlFile, is_empty, is_refused
from .yaml_sections import SectionReader, spelled_key

_MOST_FILES = 1000
_PARTS = ("env", "includes", "service", "parsers", "multiline_parsers", "pipeline")
_UNUSED_PARTS = ("plugins", "stream_processor", "upstream_servers", "customs")
_PIPELINE: dict[str, Kind] = {"inputs": "input", "filters": "filter", "outputs": "output"}
_CLASSIC_LINE = re.compile(r"\[[A-Za-z_]+\][ \t\r]*$|@(?:INCLUDE|SET)\b", re.IGNORECASE)


def read_yaml(
    path: str, role: Role, problems: list[Problem], environment: Environment | None = None
) -> tuple[Configuration, list[Setting]]:
    """Read a file and what it includes: the sections with variables unexpanded, and the variables it sets.

    Every mistake is appended to `problems`; what could be understood is returned all the same. Names of files to be
    included that no file has are expanded with `environment` and what was set above them.
    """
    reader = _Reader(path, role, problems, environment or Environment({}))
    try:
        reader.read()
    except RecursionError:
        problems.append(Problem("the file is nested too deeply", Origin(path), "use fewer levels of lists and maps"))
    return reader.configuration, reader.settings


class _Reader:
    """Reads one main or parsers file with its includes.

    `_read_at` says where each file that was opened, known by device and inode, was asked for.
    """

    def __init__(self, path: str, role: Role, problems: list[Problem], environment: Environment) -> None:
        self.environment = environment
        self._role = role
        self._problems = problems
        self._read_at: dict[tuple[int, int], str] = {}
        self.configuration = Configuration(path=path)
        self.settings: list[Setting] = []

    def read(self) -> None:
        """Read all files."""
        kind = "configuration" if self._role == "main" else "parser configuration"
        self.read_file(self.configuration.path, None, f"could not open {kind} file")

    def read_file(self, path: str, origin: Origin | None, failure: str) -> None:
        """Read one file and what it includes; `origin` is the place that asked for it."""
        try:
            data = self._data_of(path, origin)
        except OSError as error:
            self._problems.append(Problem(f"{failure} '{path}': {error.strerror}", origin))
            return
        if data is not None:
            self._read_text(path, data, origin)

    def warn(self, message: str) -> None:
        """Add a remark of the loader."""
        self.configuration.warnings.append(message)

    def _data_of(self, path: str, origin: Origin | None) -> bytes | None:
        """What a file holds; None, with the problem told, if the file must not be read."""
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if place := self._read_at.get(identity):
            message = f"Read twice. path={path}, which was already read {place}"
            self._problems.append(Problem(message, origin, "include it once"))
            return None
        if len(self._read_at) >= _MOST_FILES:
            message = f"'{path}' is not read: a configuration has at most {_MOST_FILES} files"
            self._problems.append(Problem(message, origin))
            return None
        self._read_at[identity] = f"at {origin}" if origin else "as the main file"
        is_main = origin is None and self._role == "main"
        self.configuration.contents[path] = data = read_file(path, may_be_pipe=is_main)
        return data

    def _read_text(self, path: str, data: bytes, origin: Origin | None) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            message = f"invalid YAML in file {path} at line {line}: the text is not UTF-8"
            self._problems.append(Problem(message, Origin(path, line), "save the file as UTF-8"))
            return
        if _looks_classic(text):
            remedy = f"write {path} in YAML" if origin else "give the file a name that does not end in .yaml"
            self._problems.append(Problem(f"'{path}' is a file in the classic format, not YAML", origin, remedy))
            return
        file = YamlFile(path, text, self._problems)
        _FileReader(self, file, self._role).read()


class _FileReader:
    """Reads the documents of one file into what `_Reader` holds for all files."""

    def __init__(self, reader: _Reader, file: YamlFile, role: Role) -> None:
        self._reader = reader
        self._file = file
        self._role = role
        self._sections = SectionReader(file, reader.warn)
        self._service_at: Origin | None = None
        self._parts: dict[str, Callable[[Origin, yaml.Node], None]] = {
            "env": self._env,
            "includes": self._includes,
            "service": self._service,
            "parsers": self._parsers,
            "multiline_parsers": self._multiline_parsers,
            "pipeline": self._pipeline,
        }

    def read(self) -> None:
        for document in self._file.documents():
            for written, origin, node in self._file.pairs(document, "a document"):
                name = written.lower()
                if is_empty(node) and not is_refused(node):
                    self._reader.warn(f"{origin}: '{written}' is empty")
                elif is_refused(node):
                    pass
                elif name not in self._parts:
                    self._unknown(written, origin, node)
                elif self._role == "parsers" and name in ("env", "service", "pipeline"):
                    self._reader.warn(f"{origin}: '{written}' is ignored: this file is read for its parsers only")
                else:
                    self._parts[name](origin, node)

    def _env(self, origin: Origin, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, place, value in self._file.pairs(node, "env"):
                text = self._file.text(value, f"variable '{name}'")
                if text is not None:
                    self._reader.settings.append(Setting(name, text, place))
            return
        for item in self._file.items(node, "env"):
            self._variable(item)

    def _variable(self, node: yaml.Node) -> None:
        """One item of a list of variables."""
        found: dict[str, str | None] = {}  # None for what has been told to be no text
        for key, origin, value in self._file.pairs(node, "a variable"):
            name = spelled_key(key)
            if name in ("name", "value", "uri", "refresh_interval"):
                found[name] = self._file.text(value, f"'{key}' of a variable")
            else:
                self._reader.warn(f"{origin}: unknown key '{key}' of a variable is ignored")
        if isinstance(node, yaml.MappingNode) and None not in found.values():
            self._set({name: text or "" for name, text in found.items()}, self._file.origin(node))

    def _set(self, variable: dict[str, str], origin: Origin) -> None:
        name, remedy = variable.get("name"), "for example: - {name: CLUSTER, value: prod}"
        if not name:
            self._file.problem(origin, "a variable of 'env' has no name", remedy)
        elif ("value" in variable) == ("uri" in variable):
            self._file.problem(origin, f"variable '{name}' needs either a value or a uri", remedy)
        elif "uri" in variable and not variable["uri"].startswith("file://"):
            message = f"the uri of variable '{name}' does not begin with file://"
            self._file.problem(origin, message, "for example: uri: file:///run/secrets/name")
        else:
            self._reader.settings.append(Setting(name, variable.get("uri") or variable.get("value", ""), origin))
            if variable.get("refresh_interval"):
                self._reader.warn(f"{origin}: refresh_interval is ignored: a variable is read when files are loaded")

    def _includes(self, origin: Origin, node: yaml.Node) -> None:
        for item in self._file.items(node, "includes"):
            name = self._file.text(item, "an include")
            if name is not None:
                self._include(name, self._file.origin(item))

    def _include(self, name: str, origin: Origin) -> None:
        folder = os.path.dirname(self._file.name)
        if "${" in name and not os.path.exists(os.path.join(folder, name)):
            expanded = self._reader.environment.expand_with(name, self._reader.settings)
            if expanded.unset:
                message = f"could not open included file '{name}': ${{{expanded.unset[0]}}} is empty or not set"
                remedy = f"set the variable or write ${{{expanded.unset[0]}:-default}}"
                self._file.problem(origin, message, remedy)
                return
            name = expanded.text
        path = os.path.join(folder, name)
        if "*" not in name:
            self._reader.read_file(path, origin, "could not open included file")
            return
        found = [os.path.join(folder, n) for n in sorted(glob.glob(name, root_dir=folder or "."))]
        if not found:
            looked = f"patterns are looked up in the folder of the file, {os.path.abspath(folder)}"
            self._reader.warn(f"{origin}: [read_glob] glob: [{name}] no match - {looked}")
        for one in found:
            if not os.path.isdir(one):
                self._reader.read_file(one, origin, "could not open included file")

    def _service(self, origin: Origin, node: yaml.Node) -> None:
        if self._service_at:
            message = f"duplicated definition of 'service', the first one is at {self._service_at}"
            self._file.problem(origin, message, "write all keys below one 'service'")
            return
        self._service_at = origin
        properties = self._sections.service(node)
        service = self._reader.configuration.service
        if service.properties:
            service.properties += properties
        elif properties:
            self._reader.configuration.service = Section("service", origin, properties)

    def _parsers(self, origin: Origin, node: yaml.Node) -> None:
        self._read_list("parsers", "parser", node, self._reader.configuration.parsers)

    def _multiline_parsers(self, origin: Origin, node: yaml.Node) -> None:
        self._read_list("multiline_parsers", "multiline_parser", node, self._reader.configuration.multiline_parsers)

    def _pipeline(self, origin: Origin, node: yaml.Node) -> None:
        found = self._reader.configuration
        lists = {"input": found.inputs, "filter": found.filters, "output": found.outputs}
        for written, place, value in self._file.pairs(node, "pipeline"):
            kind = _PIPELINE.get(written.lower())
            if kind is None:
                message = f"'{written}' is no part of a pipeline"
                self._file.problem(place, message, did_you_mean(written, _PIPELINE))
            else:
                self._read_list(written, kind, value, lists[kind])

    def _read_list(self, name: str, kind: Kind, node: yaml.Node, into: list[Section]) -> None:
        into += (s for item in self._file.items(node, f"'{name}'") if (s := self._sections.section(kind, item)))

    def _unknown(self, written: str, origin: Origin, node: yaml.Node) -> None:
        """Other parts: a flat map is ignored as in Fluent Bit, anything else is most likely a key at a wrong level."""
        if written.lower() in _UNUSED_PARTS:
            self._reader.warn(f"{origin}: '{written}' is not supported and ignored")
            return
        hint = did_you_mean(written, _PARTS)
        if isinstance(node, yaml.MappingNode) and all(isinstance(v, yaml.ScalarNode) for _, v in node.value):
            self._reader.warn(f"{origin}: unknown section '{written}' is ignored with all its keys - {hint}")
        else:
            self._file.problem(origin, f"unknown section '{written}'", hint)


def _looks_classic(text: str) -> bool:
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return _CLASSIC_LINE.match(first) is not None
