"""Add fields made of what the ECS agent tells of a container."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import msgspec

from ...codecs.template import Template
from ...config.options import opt
from ...config.units import Seconds
from ...config.words import split_words
from ...context import Context
from ...record import RecordBatch
from ..base import Filter, FilterOptions
from .agent import Agent, Variables, container_in
from .knowledge import Knowledge

_REMARK_EVERY_S = 60.0
_MOST_TAGS = 1024


class Addition(msgspec.Struct, frozen=True):
    """One "KEY TEMPLATE" as written."""

    shown_as: ClassVar[str] = "words"
    key: str
    template: Template

    @classmethod
    def parse(cls, text: str) -> Self:
        words = split_words(text)
        if len(words) != 2:
            raise ValueError(f"expected KEY TEMPLATE, got {text!r}")
        return cls(words[0], Template.parse(words[1]))


class EcsOptions(FilterOptions):
    """Options of the ecs filter."""

    add: Annotated[
        tuple[Addition, ...], opt("KEY TEMPLATE to add to each record.", example="task $ClusterName.$TaskID")
    ] = ()
    ecs_tag_prefix: Annotated[
        str, opt("What tags have in front of the id of the container.", example="ecs.var.lib.docker.containers.")
    ] = ""
    cluster_metadata_only: Annotated[bool, opt("Do not ask for tasks.")] = False
    ecs_meta_cache_ttl: Annotated[Seconds, opt("Forget a container of which no records came for so long.")] = Seconds(
        3600
    )
    ecs_meta_host: Annotated[str, opt("Host of the ECS agent.")] = "127.0.0.1"
    ecs_meta_port: Annotated[int, opt("Port of the ECS agent.")] = 51678
    agent_endpoint_retries: Annotated[int, opt("Failures after which a task is not asked for again.")] = 2


class EcsFilter(Filter):
    """Appends its fields to the records of a container; what the agent does not tell in time is left out.

    `_fields` has the fields of each tag, with the variables they were made of.
    """

    Options = EcsOptions

    def __init__(self, options: EcsOptions, context: Context) -> None:
        self._options = options
        self._log = context.log
        self._agent = Agent(options.ecs_meta_host, options.ecs_meta_port, context.clock, context.log)
        self._knowledge = Knowledge(
            self._agent,
            float(options.ecs_meta_cache_ttl),
            options.agent_endpoint_retries,
            context.clock,
            context.log,
        )
        self._fields: dict[str, tuple[Variables, dict[str, str]]] = {}

    async def open(self) -> None:
        """Ask for the cluster; waits two seconds at most."""
        await self._agent.open()
        await self._knowledge.learn_cluster()

    async def prepare(self, batch: RecordBatch) -> None:
        """Ask for what is not known yet, if it is time to; waits for five seconds a minute at most."""
        await self._knowledge.learn_cluster()
        container = self._container(batch.tag)
        if container is not None and self._knowledge.cluster is not None:
            await self._knowledge.learn_task(container)

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        if self._knowledge.cluster is None:
            return batch
        variables = self._knowledge.of(self._container(batch.tag)) or self._knowledge.cluster
        fields = self._fields_for(batch.tag, variables)
        if not fields:
            return batch
        for record in batch.records:
            body = record.body
            for key in fields.keys() & body.keys():
                del body[key]
            body.update(fields)
        return batch

    async def close(self) -> None:
        await self._knowledge.close()
        await self._agent.close()

    def _container(self, tag: str) -> str | None:
        if self._options.cluster_metadata_only:
            return None
        found = container_in(tag, self._options.ecs_tag_prefix)
        if found is None:
            self._log.warning("a tag names no container behind ecs_tag_prefix", every=_REMARK_EVERY_S, tag=tag)
        return found

    def _fields_for(self, tag: str, variables: Variables) -> dict[str, str]:
        known = self._fields.get(tag)
        if known is not None and known[0] is variables:
            return known[1]
        if len(self._fields) >= _MOST_TAGS:
            self._fields.clear()
        fields: dict[str, str] = {}
        for addition in self._options.add:
            text = addition.template.render_strict(tag, variables)
            if text is None:
                self._log.info("a field is left out: its template uses what is not known", key=addition.key, tag=tag)
            else:
                fields[addition.key] = text
        self._fields[tag] = (variables, fields)
        return fields


__all__ = ["EcsFilter", "EcsOptions"]
