"""Which plugins exist, and where: the name in a configuration is the name of a module or folder.

`Name loki` in an [OUTPUT] section is `outputs/loki.py` or `outputs/loki/output.py`, with the class `LokiOutput`. Only
the plugin asked for is imported, so a process carries the libraries of the plugins it uses and of no others.

A plugin that speaks the protocol of another one lives in that one's folder; a table names those.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from .filters.base import Filter
from .inputs.base import Input
from .outputs.base import Output

PluginKind = Literal["input", "filter", "output"]
Plugin = type[Input] | type[Filter] | type[Output]

KINDS: tuple[PluginKind, ...] = ("input", "filter", "output")

_PACKAGE = Path(__file__).parent

_IN_FOLDERS_OF_OTHERS: Mapping[tuple[PluginKind, str], str] = {
    ("output", "cloudwatch"): "outputs.cloudwatch_logs.cloudwatch",
    ("output", "grafana-loki"): "outputs.loki.grafana_loki",
    ("output", "kinesis_firehose"): "outputs.kinesis.firehose",
    ("output", "kinesis_streams"): "outputs.kinesis.streams",
    ("output", "opensearch"): "outputs.es.opensearch",
}
"""The modules of plugins that are not found by their name alone."""


def find_plugin(kind: PluginKind, name: str) -> Plugin | None:
    """The class of this plugin, imported now; None if there is none of this name. Case does not matter."""
    module = _module_of(kind, name.lower())
    if module is None:
        return None
    found: Any = getattr(importlib.import_module(f"{__package__}.{module}"), class_name(kind, name), None)
    return found if isinstance(found, type) else None


def plugin_names(kind: PluginKind) -> list[str]:
    """The names of all plugins of a kind in alphabetical order, found without importing any."""
    names = {path.stem for path in (_PACKAGE / f"{kind}s").iterdir() if _defines_plugin(kind, path.stem)}
    return sorted(names | {name for other, name in _IN_FOLDERS_OF_OTHERS if other == kind})


def class_name(kind: PluginKind, name: str) -> str:
    """The name of the class of a plugin: `cloudwatch_logs` is `CloudwatchLogsOutput`."""
    words = name.lower().replace("-", "_").split("_")
    return "".join(map(str.capitalize, words)) + kind.capitalize()


def _module_of(kind: PluginKind, name: str) -> str | None:
    """The module that may hold the class of a plugin, relative to the package; None if there is no such file."""
    if (elsewhere := _IN_FOLDERS_OF_OTHERS.get((kind, name))) is not None:
        return elsewhere
    # The name comes from a configuration: it must not lead out of the folder.
    if not name.isidentifier() or name.startswith("_"):
        return None
    folder = _PACKAGE / f"{kind}s"
    if (folder / f"{name}.py").is_file():
        return f"{kind}s.{name}"
    if (folder / name / f"{kind}.py").is_file():
        return f"{kind}s.{name}.{kind}"
    return None


def _defines_plugin(kind: PluginKind, name: str) -> bool:
    """Whether a module is a plugin and not something that several plugins share."""
    module = _module_of(kind, name)
    if module is None:
        return False
    source = (_PACKAGE / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    return f"class {class_name(kind, name)}(" in source
