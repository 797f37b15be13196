"""The configuration in force, as `shipper --dry-run -v` prints it: every value, and where it comes from.

    [OUTPUT] loki.0
        host         loki.monitoring  shipper.conf:12, ${LOKI_HOST}
        http_passwd  <hidden>         shipper.conf:13
        port         3100             default

Options that were not written and have no default that can be told are left out, and so are those that have no effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .config.model import Property, Section
from .config.options import Declared, Options, declared_options
from .config.reference import shown_default
from .config.service import ServiceOptions
from .pipeline import Instance, Pipeline

HIDDEN = "<hidden>"

_WIDEST_VALUE = 40
_NO_EFFECT = "Accepted;"
_SECRET_PARTS = (
    (re.compile(r"(?<=://)[^/\s]*@"), f"{HIDDEN}@"),
    (re.compile(r"^[^/@:\s]*:[^/\s]*@"), f"{HIDDEN}@"),
    (
        re.compile(r"(?i)([?&;][^=&\s]*(?:token|key|secret|pass|pwd|sig|auth|credential)[^=&\s]*=)[^&;\s]+"),
        rf"\1{HIDDEN}",
    ),
)
"""What in addresses nobody may see: users with their passwords, also without a scheme, and members of queries."""
_TOKEN_IN_PATH = re.compile(
    r"(?<=/)(?:(?=[^/?#]*[0-9])(?=[^/?#]*[A-Za-z])|(?=[^/?#]*[a-z])(?=[^/?#]*[A-Z]))[\w=+.%~-]{16,}(?=[/?#]|$)"
)
"""A long part of a path with letters and digits, or with small and large letters, as receivers give them to senders."""

_Line = tuple[str, str, str]


def render_in_force(pipeline: Pipeline) -> str:
    """All sections in the order in which they take effect, a value a line."""
    blocks = [f"sha256 {pipeline.sha256}\nfiles  {' '.join(pipeline.files)}"] if pipeline.files else []
    blocks.append(_block("[SERVICE]", _lines(ServiceOptions, pipeline.service_section)))
    for instance in (*pipeline.inputs, *pipeline.filters, *pipeline.outputs):
        blocks.append(_instance(instance))
        blocks += [_instance(processor, "PROCESSOR") for processor in instance.processors]
    return "\n\n".join(blocks) + "\n"


def shown_value(options: type[Options], prop: Property) -> str:
    """The text of a property without what nobody may see."""
    words = next((d.words for d in declared_options(options) if prop.key in _names(d)), None)
    if words is not None and words.secret:
        return HIDDEN
    shown = prop.value
    for part, instead in _SECRET_PARTS:
        shown = part.sub(instead, shown)
    return _TOKEN_IN_PATH.sub(HIDDEN, shown) if words is not None and words.secret_path else shown


def _instance(instance: Instance, title: str = "") -> str:
    lines = [("name", instance.plugin, _origin(instance.section.last("name")))]
    lines += _lines(instance.type.Options, instance.section)
    for number, rule in enumerate(instance.section.condition.rules if instance.section.condition else (), 1):
        lines += [(f"condition.{number}.{prop.key}", prop.value, _origin(prop)) for prop in rule.properties]
    return _block(f"[{title or instance.kind.upper()}] {instance.alias}", lines)


def _lines(options: type[Options], section: Section) -> Iterator[_Line]:
    """What was written, in its order, then the defaults of the rest, those of the plugin's own options first."""
    given = set[str]()
    for prop in section.properties:
        if prop.key != "name" and prop.value.strip():
            given.add(prop.key)
            yield prop.key, shown_value(options, prop), _origin(prop)
    for declared in declared_options(options):
        default = shown_default(declared)
        if default and given.isdisjoint(_names(declared)) and not declared.words.help.startswith(_NO_EFFECT):
            yield declared.name, HIDDEN if declared.words.secret else default, "default"


def _names(declared: Declared) -> tuple[str, ...]:
    return (declared.name, *declared.words.aliases)


def _origin(prop: Property | None) -> str:
    if prop is None:
        return "default"
    return ", ".join([str(prop.origin), *(f"${{{name}}}" for name in prop.variables)])


def _block(title: str, lines: Iterable[_Line]) -> str:
    rows = list(lines)
    key_width = max((len(key) for key, _, _ in rows), default=0)
    value_width = min(_WIDEST_VALUE, max((len(value) for _, value, _ in rows), default=0))
    return "\n".join([title, *(f"    {k:<{key_width}}  {v:<{value_width}}  {origin}" for k, v, origin in rows)])
