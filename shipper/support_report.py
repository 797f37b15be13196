"""What `shipper --sosreport` prints: the program, the machine, and the configuration in force without its secrets."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

from . import COMPATIBLE_VERSION, __version__
from .in_force import shown_value
from .pipeline import Instance, Pipeline
from .plugins import plugin_names
from .router import Route, match_route

Lines = Iterable[tuple[str, str]]


def render_report(pipeline: Pipeline) -> str:
    """The report in the layout of Fluent Bit's."""
    blocks = [
        "Support report\n==============",
        _block("[Fluent Bit]", [("Version", f"{COMPATIBLE_VERSION} (shipper {__version__})"), ("Built Flags", "")]),
        _block(
            "[Operating System]",
            [("Name", platform.system()), ("Release", platform.release()), ("Version", platform.version())],
        ),
        _block("[Hardware]", [("Architecture", platform.machine()), ("Processors", str(os.cpu_count() or 0))]),
        _block(
            "[Built Plugins]",
            [
                ("Inputs", " ".join(plugin_names("input"))),
                ("Filters", " ".join(plugin_names("filter"))),
                ("Outputs", " ".join(plugin_names("output"))),
            ],
        ),
        _block("[SERVER] Runtime configuration", _service(pipeline)),
        *(_block("[INPUT] Instance", [*_instance(i), ("Routes", _routes(i, pipeline))]) for i in pipeline.inputs),
        *(_block("[FILTER] Instance", _instance(i)) for i in pipeline.filters),
        *(_block("[OUTPUT] Instance", _instance(i)) for i in pipeline.outputs),
    ]
    return "\n\n".join(blocks) + "\n"


def _block(title: str, lines: Lines) -> str:
    return "\n".join([title, *(f"    {name:<20}{value}".rstrip() for name, value in lines)])


def _service(pipeline: Pipeline) -> Lines:
    service = pipeline.service
    yield "Flush", f"{service.flush:.6f}"
    yield "Daemon", "On" if service.daemon else "Off"
    yield "Log_Level", service.log_level.capitalize()


def _instance(instance: Instance) -> Lines:
    yield "Name", f"{instance.alias} ({instance.plugin}, {instance.section.origin})"
    yield "Flags", ""
    if instance.kind == "input":
        yield "Tag", instance.options.tag or instance.name
    for prop in instance.section.properties:
        if prop.key not in ("name", "alias", "tag"):
            yield prop.key, shown_value(instance.type.Options, prop)


def _routes(instance: Instance, pipeline: Pipeline) -> str:
    tag = instance.options.tag or instance.name
    routes = [Route(o.alias, o.options.match, o.options.match_regex) for o in pipeline.outputs]
    return " ".join(r.name for r in routes if match_route(r.match, r.match_regex)(tag))
