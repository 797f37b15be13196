"""What the declared options say, for people and programs: help of a plugin, the reference page, JSON.

`python -m shipper.config.reference` writes the page anew.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from .. import COMPATIBLE_VERSION
from ..parsers.library import ParserOptions
from ..parsers.multiline import MultilineOptions
from ..plugins import KINDS, Plugin, PluginKind, find_plugin, plugin_names
from .options import Declared, Options, declared_options, shown_type
from .service import ServiceOptions
from .units import BinaryByteSize, ByteSize, PlainSeconds, Seconds

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

_INTRODUCTION = """# Configuration reference

This page is generated from the declared options by `python -m shipper.config.reference`; change them, not the page.

Names of options are not case-sensitive. A **size** is a number of bytes with `K`, `M` or `G` (decimal: `5M` is
5,000,000), a **time** a number of seconds or a number with `s`, `m`, `h` or `d`, a **boolean** `on` or `off`. A list
takes one value a line and may be repeated, unless its meaning names a separator.
"""


def plugin_help(kind: PluginKind, name: str, plugin: Plugin) -> str:
    """The options of a plugin, its own ones first, to be read in a terminal."""
    lines = [f"{name} ({kind}): {_first_line(sys.modules[plugin.__module__])}"]
    for family in _families(plugin.Options):
        lines += ["", _first_line(family)]
        for declared in _declared_by(family):
            default = shown_default(declared)
            lines.append(f"  {_shown_name(declared)}  ({_kind_of_value(declared)}{', ' if default else ''}{default})")
            lines.append(f"      {_meaning(declared)}")
    return "\n".join(lines)


def reference_page() -> str:
    """The page about all options, in Markdown; what several plugins share is told once."""
    parts = [_INTRODUCTION, "## The SERVICE section\n"]
    parts += [f"{_first_line(family)}\n\n{_table(family)}" for family in reversed(_families(ServiceOptions))]
    parts += ["## The PARSER section\n", _table(ParserOptions)]
    parts += ["## The MULTILINE_PARSER section\n", _table(MultilineOptions)]
    for kind in KINDS:
        parts.append(f"## {kind.capitalize()}s\n")
        plugins = _plugins(kind)
        parts += [_plugin_part(name, plugin) for name, plugin in plugins]
        shared = dict.fromkeys(family for _, plugin in plugins for family in _shared_families(plugin))
        parts += [f"### {_heading(family)}\n\n{_table(family)}" for family in shared]
    return "\n".join(parts)


def plugins_json() -> str:
    """All plugins with their options as JSON, in the layout of Fluent Bit's."""
    about = {"version": COMPATIBLE_VERSION, "schema_version": "1", "os": sys.platform}
    schema: dict[str, Any] = {"fluent-bit": about}
    for kind in KINDS:
        schema[f"{kind}s"] = [
            {
                "type": kind,
                "name": name,
                "description": _first_line(sys.modules[plugin.__module__]),
                "properties": {
                    "global_options": [_described(d) for d in declared_options(plugin.Options) if d.words.core],
                    "options": [_described(d) for d in declared_options(plugin.Options) if not d.words.core],
                },
            }
            for name, plugin in _plugins(kind)
        ]
    return msgspec.json.encode(schema).decode()


def shown_default(declared: Declared) -> str:
    """The default as it would be written in a configuration; empty if there is none, or nothing to be written."""
    if declared.is_required:
        return "required"
    default = declared.default
    match default:
        case bool():
            return "on" if default else "off"
        case PlainSeconds():
            return f"{float(default):g}"
        case Seconds():
            return f"{float(default):g}s"
        case ByteSize():
            return _shown_size(default)
        case int() | float():
            return f"{default:g}" if isinstance(default, float) else str(int(default))
        case str():
            return str(default)
    # A type of a plugin's own has a text to show if it says how it is written.
    return str(default) if "__str__" in vars(type(default)) else ""


def _shown_size(size: ByteSize) -> str:
    base = 1024 if isinstance(size, BinaryByteSize) else 1000
    for letter, factor in (("G", base**3), ("M", base**2), ("K", base)):
        if size and size % factor == 0:
            return f"{size // factor}{letter}"
    return str(int(size))


def _plugins(kind: PluginKind) -> list[tuple[str, Plugin]]:
    found = [(name, find_plugin(kind, name)) for name in plugin_names(kind)]
    return [(name, plugin) for name, plugin in found if plugin is not None]


def _families(options: type[Options]) -> list[type[Options]]:
    """The class and its bases as far as they declare anything, the most particular first."""
    bases = [base for base in options.__mro__ if issubclass(base, Options) and base is not Options]
    return [base for base in bases if _declared_by(base)]


def _declared_by(family: type[Options]) -> list[Declared]:
    own = vars(family).get("__annotations__", {})
    return [d for d in declared_options(family) if d.field in own]


def _is_own(plugin: Plugin, family: type[Options]) -> bool:
    """Whether a family of options belongs to this plugin alone: it lives in the plugin's module or folder."""
    home = plugin.__module__.removesuffix(f".{_kind_of(plugin)}")
    return f"{family.__module__}.".startswith(f"{home}.")


def _kind_of(plugin: Plugin) -> PluginKind:
    return next(kind for kind in KINDS if plugin.__module__.split(".")[1] == f"{kind}s")


def _shared_families(plugin: Plugin) -> list[type[Options]]:
    return [family for family in _families(plugin.Options) if not _is_own(plugin, family)]


def _plugin_part(name: str, plugin: Plugin) -> str:
    lines = [f"### {name}\n", f"{_first_line(sys.modules[plugin.__module__])}\n"]
    lines += [_table(family) for family in _families(plugin.Options) if _is_own(plugin, family)]
    links = (f"[{heading[0].lower() + heading[1:]}](#{_anchor(heading)})" for heading in _headings(plugin))
    return "\n".join([*lines, f"Also: {', '.join(links)}.\n"])


def _headings(plugin: Plugin) -> list[str]:
    return [_heading(family) for family in _shared_families(plugin)]


def _heading(family: type[Options]) -> str:
    return _first_line(family).removesuffix(".")


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-").replace(",", "")


def _table(family: type[Options]) -> str:
    rows: Iterable[tuple[str, ...]] = (
        (f"`{_shown_name(d)}`", _kind_of_value(d), _code(shown_default(d)), _meaning(d, code=True))
        for d in _declared_by(family)
    )
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _code(default: str) -> str:
    return default if default in ("", "required") else f"`{default}`"


def _shown_name(declared: Declared) -> str:
    return f"{declared.words.family}*" if declared.words.family else declared.name


def _kind_of_value(declared: Declared) -> str:
    return shown_type(declared.type)


def _meaning(declared: Declared, *, code: bool = False) -> str:
    """The words of the option, its example and other spellings."""
    mark = "`" if code else ""
    words = declared.words
    # Outside of code Markdown takes <name> for HTML.
    parts = [words.help.replace("<", "&lt;") if code else words.help]
    if words.split == ",":
        parts.append("Values are separated by commas.")
    elif words.split == " ":
        parts.append("Values are separated by blanks.")
    if words.most is not None:
        parts.append(f"From {words.least} to {words.most}.")
    elif words.least is not None:
        parts.append(f"At least {words.least}.")
    if words.example:
        parts.append(f"Example: {mark}{declared.name} {words.example}{mark}.")
    if words.aliases:
        parts.append(f"Also written {', '.join(mark + alias + mark for alias in words.aliases)}.")
    return " ".join(part for part in parts if part)


def _described(declared: Declared) -> dict[str, Any]:
    """One option for programs."""
    return {
        "name": _shown_name(declared),
        "description": declared.words.help,
        "default": None if declared.is_required else shown_default(declared) or None,
        "required": declared.is_required,
        "type": _kind_of_value(declared),
    }


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference_page(), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
