"""Deliver to Amazon CloudWatch Logs, configured as for the plugin in Go that came before."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

import msgspec

from ...aws.settings import AwsSettings
from ...codecs.template import Groups, KeyPath, Template, text_of
from ...config.options import opt
from ...context import Context
from ...errors import OptionError
from ...net.settings import HttpSettings, NoAnswer
from ...record import Body
from .creation import GroupOptions
from .output import CloudwatchLogsOptions, CloudwatchLogsOutput

_ELEMENT = re.compile(r"\$\(([^()]*)\)")
_TAG = re.compile(r"tag(?:\[([0-9]+)\])?")
_KEY = re.compile(r"([^\[\]']+)((?:\['[^']*'\])*)")
_STEP = re.compile(r"\['([^']*)'\]")
_ECS_NAMES = ("ecs_task_id", "ecs_cluster", "ecs_task_arn")
_METADATA_URI = "ECS_CONTAINER_METADATA_URI_V4"
_METADATA_TIMEOUT_S = 2.0
_MISSING = object()

_Part = Callable[[str, Body], str | None]


class GoTemplate(Template):
    """A name with elements such as `$(tag[1])`, `$(key['sub'])` or `$(ecs_cluster)`.

    `facts` are the values of elements that are known only after the start; without its value an element is missing.
    """

    def __init__(self, text: str, parts: list[str | _Part], paths: list[KeyPath], facts: dict[str, str]) -> None:
        super().__init__(text, [text] if all(isinstance(p, str) for p in parts) else [_nothing], paths)
        self._go_parts = parts
        self.facts = facts

    @classmethod
    def parse(cls, text: str) -> Self:
        """Compile a name; raises `ValueError` for an element that cannot be read."""
        parts: list[str | _Part] = []
        paths: list[KeyPath] = []
        facts = {"uuid": str(uuid.uuid4())}
        at = 0
        for found in _ELEMENT.finditer(text):
            parts.append(text[at : found.start()])
            parts.append(_part_of(found[1].strip(), paths, facts))
            at = found.end()
        return cls(text, [*parts, text[at:]], paths, facts)

    @property
    def wants_ecs(self) -> bool:
        """Whether an element is about the ECS task that we run in."""
        return any(f"$({name})" in self.text for name in _ECS_NAMES)

    def render_strict(self, tag: str, body: Body, groups: Groups = ()) -> str | None:
        pieces: list[str] = []
        for part in self._go_parts:
            piece = part if isinstance(part, str) else part(tag, body)
            if piece is None:
                return None
            pieces.append(piece)
        return "".join(pieces)


class CloudwatchOptions(CloudwatchLogsOptions, kw_only=True):
    """Options of the output `cloudwatch`; names of groups and streams may hold `$(...)`."""

    default_log_group_name: Annotated[str, opt("Group for records without what the name of theirs is made of.")] = (
        "fluentbit-default"
    )
    default_log_stream_name: Annotated[str, opt("Stream for records without what the name of theirs is made of.")] = (
        "/fluentbit-default"
    )
    auto_create_stream: Annotated[bool, opt("Create log streams that are missing.")] = True
    credentials_endpoint: Annotated[str | None, opt("URL that gives out credentials.")] = None

    def __post_init__(self) -> None:
        if "$(" in self.log_group_name:
            self.log_group_template = _template("log_group_name", self.log_group_name)
            self.log_group_name = self.default_log_group_name
        if self.log_stream_name is not None and "$(" in self.log_stream_name:
            self.log_stream_template = _template("log_stream_name", self.log_stream_name)
            self.log_stream_name = self.default_log_stream_name
        super().__post_init__()

    def group_options(self) -> GroupOptions:
        return msgspec.structs.replace(super().group_options(), create_streams=self.auto_create_stream)

    def aws_settings(self) -> AwsSettings:
        return msgspec.structs.replace(super().aws_settings(), credentials_endpoint=self.credentials_endpoint)


class CloudwatchOutput(CloudwatchLogsOutput):
    """Sends records as log events to groups and streams named in the older way."""

    Options = CloudwatchOptions

    def __init__(self, options: CloudwatchOptions, context: Context) -> None:
        super().__init__(options, context)
        templates = (options.log_group_template, options.log_stream_template)
        self._templates = [t for t in templates if isinstance(t, GoTemplate)]

    async def open(self) -> None:
        """Get ready; waits a moment for ECS to tell which task this is, if names hold that."""
        if any(template.wants_ecs for template in self._templates):
            facts = await _ecs_facts(os.environ.get(_METADATA_URI, ""), self._context)
            for template in self._templates:
                template.facts.update(facts)
        await super().open()


def _template(option: str, text: str) -> GoTemplate:
    try:
        return GoTemplate.parse(text)
    except ValueError as error:
        raise OptionError(option, str(error), "for example: $(tag[1])-$(kubernetes['pod_name'])") from error


def _part_of(element: str, paths: list[KeyPath], facts: Mapping[str, str]) -> _Part:
    """What an element stands for; paths into the record are added to `paths`."""
    if found := _TAG.fullmatch(element):
        return _whole_tag if found[1] is None else _part_of_tag(int(found[1]))
    if element == "uuid" or element in _ECS_NAMES:
        return lambda tag, body: facts.get(element)
    read = _KEY.fullmatch(element)
    if read is None:
        raise ValueError(f"$({element}) is neither a field nor a part of the tag")
    path = KeyPath(read[1], _STEP.findall(read[2]))
    paths.append(path)
    return _value_at(path)


def _whole_tag(tag: str, body: Body) -> str:
    return tag


def _part_of_tag(number: int) -> _Part:
    def part(tag: str, body: Body) -> str | None:
        parts = tag.split(".")
        return parts[number] if number < len(parts) else None

    return part


def _value_at(path: KeyPath) -> _Part:
    def value(tag: str, body: Body) -> str | None:
        found = path.get(body, _MISSING)
        return None if found is _MISSING or found is None else text_of(found)

    return value


def _nothing(tag: str, body: Body, groups: Groups) -> str | None:
    return None


async def _ecs_facts(uri: str, context: Context) -> dict[str, str]:
    """The task that we run in, by the metadata endpoint of ECS; nothing if it does not tell."""
    from ...net.http import HttpClient

    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        host, port = "", 80
    if not host:
        context.log.warning(f"{_METADATA_URI} is not set; names that hold the ECS task become the default ones")
        return {}
    settings = HttpSettings(host=host, port=port, io_timeout=_METADATA_TIMEOUT_S, use_proxy=False)
    http = HttpClient(settings, context.clock, context.log)
    try:
        await http.open()
        answer = await http.request("GET", f"{parts.path.rstrip('/')}/task")
        told = msgspec.json.decode(answer.body, type=dict[str, object])
        arn, cluster = str(told["TaskARN"]), str(told["Cluster"])
    except (NoAnswer, msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as error:
        context.log.warning(
            "ECS does not tell which task this is; names that hold it become the default ones", why=error
        )
        return {}
    finally:
        await http.close()
    return {
        "ecs_task_arn": arn,
        "ecs_task_id": arn.rpartition("/")[2],
        "ecs_cluster": cluster.rpartition("/")[2],
    }
