"""Makes everything that a pipeline is made of: plugins, buffers, dispatchers, and what carries batches between them.

Nothing is opened by that, and nothing on the disk or in the network is touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from .buffers.base import MEMORY_FACTOR, Buffer
from .clock import Clock
from .config.destination import destination_of
from .context import Context, StopService
from .disk import Disk
from .dispatcher import Dispatcher
from .errors import ConfigError, Problem
from .inputs.base import Input
from .intake import ActiveFilter, Intake
from .ledger import Ledger
from .log import Log
from .metrics import Metrics
from .outputs.base import Output
from .pipeline import Instance, Pipeline
from .plugins import PluginKind
from .processing import ProcessedOutput
from .retry import Backoff
from .router import Route, Router, match_route
from .storage import Storage, memory_limit, new_storage

Kept = Literal["disk", "source", "ring", "nowhere"]
"""Where what was read and not delivered is found again by the engine that comes next.

It is nowhere if it is in memory alone; so is that in a ring, which somebody has chosen to lose what is not taken.
"""


class RunningInput(msgspec.Struct):
    """An input with what carries its batches."""

    input: Input
    context: Context
    buffer: Buffer
    intake: Intake
    storage_type: str | None = None
    kept: Kept = "nowhere"
    task: asyncio.Task[None] | None = None
    holding: asyncio.Task[None] | None = None
    """Takes on what filters hand out later; there is none if no filter does."""


class Assembly(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of a pipeline, in its order.

    `processors` are, by kind and name of an input or output, the filters that its batches alone go through.
    """

    inputs: Sequence[RunningInput] = ()
    filters: Sequence[ActiveFilter] = ()
    processors: dict[tuple[PluginKind, str], list[ActiveFilter]] = {}
    outputs: Sequence[Output] = ()
    output_contexts: Sequence[Context] = ()
    dispatchers: Sequence[Dispatcher] = ()
    router: Router
    storage: Storage
    ledger: Ledger

    def all_processors(self) -> list[ActiveFilter]:
        return [active for units in self.processors.values() for active in units]


def assemble(pipeline: Pipeline, metrics: Metrics, clock: Clock, disk: Disk, stop_service: StopService) -> Assembly:
    """Make everything that the configuration names; raises `ConfigError` with every mistake found."""
    return _Assembler(pipeline, metrics, clock, disk, stop_service).assemble()


class _Assembler:
    """Makes the instances of one pipeline, and connects them."""

    def __init__(
        self, pipeline: Pipeline, metrics: Metrics, clock: Clock, disk: Disk, stop_service: StopService
    ) -> None:
        self._pipeline = pipeline
        self._service = pipeline.service
        self._metrics = metrics
        self._clock = clock
        self._disk = disk
        self._stop_service = stop_service
        self._backoff = Backoff(self._service.scheduler_base, self._service.scheduler_cap)
        self._problems: list[Problem] = []
        self._storage = new_storage(self._own_context())

    def assemble(self) -> Assembly:
        outputs = self._make_all(self._pipeline.outputs)
        filters = self._make_all(self._pipeline.filters)
        inputs = self._make_all(self._pipeline.inputs)
        processors = self._make_processors()
        if self._problems:
            raise ConfigError(self._problems)
        processed = [self._processed(i, one, context, processors) for i, one, context in outputs]
        dispatchers = [
            self._dispatcher(number, i, one, context)
            for number, ((i, _, context), one) in enumerate(zip(outputs, processed, strict=True))
        ]
        active = [
            ActiveFilter(one, match_route(i.options.match, i.options.match_regex), context)
            for i, one, context in filters
        ]
        units = [unit for units in processors.values() for unit in units]
        router = self._router(len(inputs), [*active, *units])
        running = [
            self._input(i, one, context, router, [*processors["input", i.name], *active]) for i, one, context in inputs
        ]
        return Assembly(
            inputs=running,
            filters=active,
            processors=processors,
            outputs=processed,
            output_contexts=[context for _, _, context in outputs],
            dispatchers=dispatchers,
            router=router,
            storage=self._storage,
            ledger=Ledger(self._metrics, [r.context.alias for r in running], dispatchers),
        )

    def _make_all(self, instances: Sequence[Instance]) -> list[tuple[Instance, Any, Context]]:
        """The objects of these instances; where one cannot be made, there is a problem more."""
        return [(instance, *made) for instance in instances if (made := self._make(instance))]

    def _make_processors(self) -> dict[tuple[PluginKind, str], list[ActiveFilter]]:
        """By input and output the filters that its batches alone go through, whatever their tags."""
        return {
            (i.kind, i.name): [
                ActiveFilter(one, _matches_any, context) for _, one, context in self._make_all(i.processors)
            ]
            for i in (*self._pipeline.inputs, *self._pipeline.outputs)
        }

    def _processed(
        self,
        instance: Instance,
        output: Output,
        context: Context,
        processors: dict[tuple[PluginKind, str], list[ActiveFilter]],
    ) -> Output:
        units = processors["output", instance.name]
        return ProcessedOutput(output, units, context) if units else output

    def _dispatcher(self, number: int, instance: Instance, output: Output, context: Context) -> Dispatcher:
        options = instance.options
        retries = options.retry_limit.retries if options.retry_limit else None
        concurrency = options.workers or output.concurrency
        rejected = self._storage.rejected
        dispatcher = Dispatcher(output, context, concurrency, retries, self._backoff, rejected, number)
        destination = destination_of(instance.alias, instance.plugin, options, instance.section)
        self._storage.add_output(context, options, dispatcher, destination)
        return dispatcher

    def _router(self, inputs: int, filters: Sequence[ActiveFilter]) -> Router:
        routes = [Route(i.alias, i.options.match, i.options.match_regex) for i in self._pipeline.outputs]
        router = Router(routes, inputs + sum(active.filter.makes_tags for active in filters))
        log = Log("[engine] ")
        for warning in router.warnings:
            log.warning(warning.removeprefix("[engine] "))
        return router

    def _input(
        self, instance: Instance, one: Input, context: Context, router: Router, filters: Sequence[ActiveFilter]
    ) -> RunningInput:
        buffer = self._storage.buffer_for(context, instance.options, keeps_source=one.keeps_source)
        intake = Intake(context, filters, router, buffer, instance.options.routable, self._storage.rejected)
        storage_type = instance.options.storage_type
        return RunningInput(one, context, buffer, intake, storage_type, self._kept(instance.options, one))

    def _kept(self, options: Any, one: Input) -> Kept:
        has_positions = bool(getattr(options, "db", None))
        if options.storage_type == "memrb":
            return "ring"
        if not options.may_be_stored:
            return "nowhere"
        # With a folder, what waits in memory is stored at the stop unless the source has it.
        is_stored = options.storage_type == "filesystem" or has_positions or not one.keeps_source
        if self._service.storage_path is not None and is_stored:
            return "disk"
        return "source" if has_positions else "nowhere"

    def _make(self, instance: Instance) -> tuple[Any, Context] | None:
        context = Context(
            kind=instance.kind,
            name=instance.name,
            alias=instance.alias,
            log=instance.log(),
            clock=self._clock,
            disk=self._disk,
            metrics=self._metrics,
            service=self._service,
            parsers=self._pipeline.parsers,
            folder=self._pipeline.folder,
            own_log_tags=frozenset(
                i.options.tag or i.name for i in self._pipeline.inputs if i.plugin == "fluentbit_logs"
            ),
            memory_limit=_room_of(instance) if instance.kind == "input" else 0,
            stop_service=self._stop_service,
        )
        try:
            return instance.make(context), context
        except ConfigError as error:
            self._problems.extend(error.problems)
            return None

    def _own_context(self) -> Context:
        """The seams and the service's options for parts of the engine that are no instances."""
        return Context(
            kind="service",
            name="storage",
            alias="storage",
            log=Log("[storage] "),
            clock=self._clock,
            disk=self._disk,
            metrics=self._metrics,
            service=self._service,
        )


def _room_of(instance: Instance) -> int:
    """The bytes of records as read that there is room for in the buffer of an input."""
    keeps_source = getattr(instance.type, "keeps_source", False)
    return memory_limit(instance.options, keeps_source=keeps_source).size // MEMORY_FACTOR


def _matches_any(tag: str) -> bool:
    return True
