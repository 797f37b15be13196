"""The classic format: `[SECTION]` headers, `Key value` lines, `@` commands.

Each line is one of

- a header, with `[` in column 0;
- a command, with `@` in column 0;
- a comment, with `#` behind any blanks, or a blank line;
- a group, which is `[name]` behind blanks: it and the deeper keys below it are not used;
- else a key of the section that is open in the same file.

Fluent Bit wants the same indentation for every key of a file. Any indentation is accepted here, because that cannot
change what a valid file means, and lost indentation is the usual damage of copied configurations.

All mistakes of all files are collected. An included file stands in place of its `@INCLUDE` as far as the order of
sections goes, but it has a current section of its own.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from typing import Literal

from ..errors import Origin, Problem
from .environment import Environment, Setting
from .files import read_file
from .model import Configuration, Kind, Property, Section
from .options import did_you_mean

Role = Literal["main", "parsers"]

_BLANKS = " \t"
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
_MOST_FILES = 1000
_KEY_LINE = re.compile(r"([^ \t]+)[ \t]*(.*)", re.DOTALL)
_COMMAND = re.compile(r"@([^ \t]*)(?:[ \t](.*))?", re.DOTALL)
_SECTIONS: tuple[tuple[str, Kind | None], ...] = (
    ("service", "service"),
    ("parser", "parser"),
    ("multiline_parser", "multiline_parser"),
    ("stream_processor", None),
    ("plugins", None),
    ("upstream_servers", None),
    ("customs", None),
    ("inputs", "input"),
    ("filters", "filter"),
    ("outputs", "output"),
)
_WANTED: dict[Role, tuple[Kind, ...]] = {
    "main": ("service", "input", "filter", "output"),
    "parsers": ("parser", "multiline_parser"),
}
_WORDS = ("service", "parser", "multiline_parser", "input", "filter", "output")
_PARSER_IN_MAIN = (
    "sections 'multiline_parser' and 'parser' are not valid in the main configuration file, "
    "they belong to 'parsers_file'"
)


def read_classic(
    path: str, role: Role, problems: list[Problem], environment: Environment | None = None
) -> tuple[Configuration, list[Setting]]:
    """Read a file and what it includes: the sections with variables unexpanded, and the variables it sets.

    Every mistake is appended to `problems`; what could be understood is returned all the same. Names of files to be
    included that no file has are expanded with `environment` and what was set above them.
    """
    reader = _Reader(path, role, problems, environment or Environment({}))
    reader.read()
    return reader.configuration(), reader.settings


def main_folder(path: str) -> str:
    """The folder in which the files named by a main file are looked up, symbolic links of the main file resolved.

    Empty, for the working folder, if there is no main file.
    """
    if not path:
        return ""
    given, real = os.path.dirname(path), os.path.dirname(os.path.realpath(path))
    return given if os.path.realpath(given or ".") == real else real


def find_file(name: str, folder: str) -> str | None:
    """The file of this name in the working folder, else in `folder`; None if neither has it."""
    return next((path for path in (name, os.path.join(folder, name)) if os.path.exists(path)), None)


def searched_folders(name: str, folder: str) -> str:
    """A remedy that says where `find_file` looked."""
    if os.path.isabs(name):
        return "check the path"
    looked = dict.fromkeys((os.getcwd(), os.path.abspath(folder)))
    return f"it was looked for in {' and '.join(looked)}"


class _OpenFile:
    """A file being read: the line it is at, and where its next key goes (None before its first section)."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.lines: Iterator[tuple[int, str]] = enumerate(text.split("\n"), 1)
        self.properties: list[Property] | None = None
        self.group_indent: int | None = None


class _Reader:
    """Reads one main or parsers file with its includes.

    `_files` are the files being read, the innermost last. `_read_at` says where each file that was opened, known by
    device and inode, was asked for.
    """

    def __init__(self, path: str, role: Role, problems: list[Problem], environment: Environment) -> None:
        self._path = path
        self._environment = environment
        self._role = role
        self._folder = main_folder(path)
        self._problems = problems
        self._files: list[_OpenFile] = []
        self._read_at: dict[tuple[int, int], str] = {}
        self._sections: list[Section] = []
        self._warnings: list[str] = []
        self._contents: dict[str, bytes] = {}
        self.settings: list[Setting] = []

    def read(self) -> None:
        """Read all lines of all files."""
        kind = "configuration" if self._role == "main" else "parser configuration"
        self._open([self._path], None, f"could not open {kind} file")
        while self._files:
            file = self._files[-1]
            number, line = next(file.lines, (0, ""))
            if number:
                self._read_line(file, line.removesuffix("\r"), Origin(file.name, number))
            else:
                self._files.pop()

    def configuration(self) -> Configuration:
        """What was read, by kind; the properties of all SERVICE sections are one list."""
        found = Configuration(path=self._path, contents=self._contents, warnings=self._warnings)
        lists = {
            "input": found.inputs,
            "filter": found.filters,
            "output": found.outputs,
            "parser": found.parsers,
            "multiline_parser": found.multiline_parsers,
        }
        services = [section for section in self._sections if section.kind == "service"]
        if services:
            found.service = Section("service", services[0].origin, [p for s in services for p in s.properties])
        for section in self._sections:
            if not section.properties:
                self._warn(section.origin, f"section '{section.kind}' has no keys")
            if section.kind != "service":
                lists[section.kind].append(section)
        return found

    def _read_line(self, file: _OpenFile, line: str, origin: Origin) -> None:
        text = line.strip(_BLANKS)
        if not text or text.startswith("#"):
            return
        if line.startswith("["):
            self._read_header(file, line, origin)
        elif line.startswith("@"):
            self._read_command(line, origin)
        elif text.startswith("["):
            self._read_group(file, line, origin)
        else:
            self._read_key(file, line, origin)

    def _read_header(self, file: _OpenFile, line: str, origin: Origin) -> None:
        file.properties, file.group_indent = [], None
        written, closed, _ = line[1:].partition("]")
        name = written.lower()
        if not closed:
            self._problem(origin, "bad header definition", f"close it: [{written.strip()}]")
            return
        word, kind = next(((w, k) for w, k in _SECTIONS if name and w.startswith(name)), ("", None))
        if kind is not None and kind in _WANTED[self._role]:
            self._sections.append(Section(kind, origin, file.properties))
        elif not word:
            hint = did_you_mean(name, _WORDS)
            self._warn(origin, f"unknown section '[{written}]' is ignored with all its keys - {hint}")
        elif self._role == "main" and kind is not None:
            self._problem(origin, _PARSER_IN_MAIN, "move it to a file of its own and name that file with Parsers_File")
        elif kind is not None:
            self._warn(origin, f"section '[{written}]' is ignored: this file is read for its parsers only")
        else:
            self._warn(origin, f"section '[{written}]' is not supported and ignored with all its keys")

    def _read_group(self, file: _OpenFile, line: str, origin: Origin) -> None:
        text = line.strip(_BLANKS)
        name = text[1:].partition("]")[0]
        if name.lower() in _WORDS:
            self._problem(origin, f"invalid indentation level of '{text}'", "begin the section header in column 1")
            file.properties, file.group_indent = [], None
            return
        file.group_indent = _indent_of(line)
        self._warn(origin, f"group '[{name}]' is ignored with all its keys")

    def _read_key(self, file: _OpenFile, line: str, origin: Origin) -> None:
        if file.group_indent is not None:
            if _indent_of(line) > file.group_indent:
                return
            file.group_indent = None
        found = _KEY_LINE.fullmatch(line.strip(_BLANKS))
        assert found is not None  # the line is not blank
        key, value = found[1], found[2]
        if not value:
            self._problem(origin, _without_value(line), _remedy_without_value(key))
        elif file.properties is None:
            remedy = "begin the file with a section header such as [INPUT]"
            self._problem(origin, f"could not allocate key value pair: '{key}' belongs to no section", remedy)
        else:
            if key.lower() in ("@include", "@set"):
                self._warn(origin, f"'{key}' behind blanks is a key of its section - commands begin in column 1")
            file.properties.append(Property(key.lower(), value, origin))

    def _read_command(self, line: str, origin: Origin) -> None:
        found = _COMMAND.fullmatch(line)
        assert found is not None  # the line begins with @
        word, argument = found[1], found[2]
        if argument is None or not argument.strip(_BLANKS):
            self._problem(origin, f"command '@{word}' has no argument", "write @INCLUDE FILE or @SET NAME=VALUE")
        elif word.lower() == "include":
            self._include(argument.strip(_BLANKS), origin)
        elif word.lower() == "set":
            self._set(argument, origin)
        else:
            self._warn(origin, f"unknown command '@{word}' is ignored - {did_you_mean(word, ('include', 'set'))}")

    def _set(self, argument: str, origin: Origin) -> None:
        name, equals, value = argument.partition("=")
        if self._role == "parsers":
            self._warn(origin, "@SET in a parsers file has no effect - move it to the main file")
        elif equals:
            self.settings.append(Setting(name.strip(_BLANKS), value, origin))
        else:
            self._warn(origin, "[meta SET] invalid parameter is ignored - write @SET NAME=VALUE")

    def _include(self, name: str, origin: Origin) -> None:
        if "${" in name and find_file(name, self._folder) is None:
            expanded = self._environment.expand_with(name, self.settings)
            if expanded.unset:
                message = f"could not open included file '{name}': ${{{expanded.unset[0]}}} is empty or not set"
                self._problem(origin, message, f"set the variable or write ${{{expanded.unset[0]}:-default}}")
                return
            name = expanded.text
        if "*" in name:
            found = sorted(glob.glob(name, root_dir=self._folder or "."))
            paths = [path for path in (os.path.join(self._folder, n) for n in found) if not os.path.isdir(path)]
            if paths:
                self._open(paths, origin, "could not open included file")
            else:
                folder = os.path.abspath(self._folder)
                remedy = f"relative patterns are looked up in the folder of the main file, {folder}"
                self._problem(origin, f"glob: [{name}] no match", remedy)
        elif path := find_file(name, self._folder):
            self._open([path], origin, "could not open included file")
        else:
            remedy = searched_folders(name, self._folder)
            self._problem(origin, f"could not open included file '{name}': no such file", remedy)

    def _open(self, paths: list[str], origin: Origin | None, failure: str) -> None:
        """Make these the next files to be read, in this order."""
        opened: list[_OpenFile] = []
        for path in paths:
            try:
                text = self._text_of(path, origin)
            except OSError as error:
                self._problem(origin, f"{failure} '{path}': {error.strerror}")
                continue
            if text is not None:
                opened.append(_OpenFile(path, text))
        self._files += reversed(opened)

    def _text_of(self, path: str, origin: Origin | None) -> str | None:
        """The text of a file; None, with the problem told, if the file must not be read."""
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if place := self._read_at.get(identity):
            self._problem(origin, f"Read twice. path={path}, which was already read {place}", "include it once")
            return None
        if len(self._read_at) >= _MOST_FILES:
            self._problem(origin, f"'{path}' is not read: a configuration has at most {_MOST_FILES} files")
            return None
        self._read_at[identity] = f"at {origin}" if origin else "as the main file"
        is_main = origin is None and self._role == "main"
        self._contents[path] = data = read_file(path, may_be_pipe=is_main)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = Origin(path, data.count(b"\n", 0, error.start) + 1)
            self._warn(line, "the file is not UTF-8; bytes that cannot be read are replaced")
            text = data.decode(errors="replace")
        if text.startswith(_BOM):
            message = "undefined value: the file begins with a byte order mark"
            self._problem(Origin(path, 1), message, "save it as UTF-8 without BOM")
            text = text.removeprefix(_BOM)
        return text

    def _problem(self, origin: Origin | None, message: str, remedy: str = "") -> None:
        self._problems.append(Problem(message, origin, remedy))

    def _warn(self, origin: Origin, message: str) -> None:
        self._warnings.append(f"{origin}: {message}")


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(_BLANKS))


def _remedy_without_value(key: str) -> str:
    """What to do about a key without a value; what stands behind a sign that does not belong there may be secret."""
    name, sign, _ = re.split("([:=])", key, maxsplit=1) if re.search("[:=]", key) else (key, "", "")
    if sign:
        return f"write a blank in place of '{sign}' behind '{name}'"
    return f"write a value behind '{name}', or remove the line"


def _without_value(line: str) -> str:
    """What is wrong with a key line without value, in the words of Fluent Bit."""
    trailing = len(line) - len(line.rstrip(_BLANKS))
    if trailing == 0:
        return "undefined value - check config is in valid classic format"
    return "key has an empty value" if trailing == 1 else "could not allocate key value pair"
