"""What tells one output from another when a configuration changes: where it sends, not at which place it stands."""

from __future__ import annotations

import hashlib

import msgspec

from .model import Section
from .options import Options, declared_options

PLACE = frozenset(
    (
        "host",
        "port",
        "unix_path",
        "upstream",
        "url",
        "uri",
        "path",
        "file",
        "bucket",
        "region",
        "endpoint",
        "log_group_name",
        "default_log_group_name",
        "stream",
        "delivery_stream",
        "index",
        "tenant_id",
        "cloud_id",
    )
)
"""The options that say where an output sends; all others say how."""


class Destination(msgspec.Struct, frozen=True):
    """An output as it is known again: `place` tells where it sends, `whole` everything that was written.

    Both are digests, made without secrets and of the text before its variables are replaced: a name of a pod in it
    makes no other output. `has_alias` says that somebody has named it, which is more than any likeness.
    """

    name: str
    has_alias: bool = False
    place: str = ""
    whole: str = ""


def destination_of(name: str, plugin: str, options: Options, section: Section) -> Destination:
    """The destination of an output that this section configures."""
    declared = declared_options(type(options))
    hidden = {known for d in declared if d.words.secret for known in (d.name, *d.words.aliases)}
    written = [(p.key, p.raw or p.value) for p in section.properties]
    changed = {d.name for d in declared if d.name in PLACE and getattr(options, d.field) != d.default}
    place = sorted((key, text) for key, text in written if key in changed)
    whole = sorted((key, text) for key, text in written if key not in hidden)
    return Destination(name, bool(section.get("alias")), _digest(plugin, place), _digest(plugin, whole))


def _digest(plugin: str, texts: list[tuple[str, str]]) -> str:
    return hashlib.sha256(msgspec.json.encode((plugin, texts))).hexdigest()[:16]
