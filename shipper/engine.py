"""Runs a pipeline: makes the instances, owns every task, starts them in one order and stops them in the other."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from . import __version__
from .buffers.base import MEMORY_FACTOR, Buffer
from .clock import Clock, SystemClock
from .context import Context
from .disk import Disk, SystemDisk
from .dispatcher import Dispatcher
from .errors import ConfigError, OptionError, Problem
from .inputs.base import Input
from .intake import ActiveFilter, Intake
from .ledger import Ledger
from .log import Log, tell
from .metrics import Counter, Metrics
from .outputs.base import Output
from .pipeline import Instance, Pipeline
from .plugins import PluginKind
from .processing import ProcessedOutput
from .retry import Backoff
from .router import Route, Router, match_route
from .storage import memory_limit, new_storage
from .supervisor import keep_running, outcome

if TYPE_CHECKING:
    from .monitoring.monitor import Monitor
    from .monitoring.view import View

QUIET_S = 0.5
"""Asked to stop by a signal, inputs go on until they have brought nothing for so long, at most for half of Grace: what
runs beside us may be told to stop at the same time, and its last records are those that matter."""

INPUT_STOP_S = 0.5
"""Longest wait for an input, and then for its filters, to hand out what they hold; the rest is still in its source."""

_STRATEGIES = {
    "memory": "'memory' (memory only)",
    "filesystem": "'filesystem' (memory + filesystem)",
    "memrb": "'memrb' (memory ring buffer)",
}

CLOSE_S = 1.0
"""Longest wait for an instance to close."""


class _RunningInput(msgspec.Struct):
    """An input with what carries its batches."""

    input: Input
    context: Context
    buffer: Buffer
    intake: Intake
    storage_type: str | None = None
    task: asyncio.Task[None] | None = None
    holding: asyncio.Task[None] | None = None
    """Takes on what filters hand out later; there is none if no filter does."""


class Engine:
    """One pipeline from start to stop; all state of a running shipper hangs here."""

    def __init__(self, pipeline: Pipeline, clock: Clock | None = None, disk: Disk | None = None) -> None:
        self._pipeline = pipeline
        self._service = pipeline.service
        self._clock: Clock = clock or SystemClock()
        self._disk: Disk = disk or SystemDisk()
        self._log = Log("[engine] ")
        self.metrics = Metrics()
        self._inputs: list[_RunningInput] = []
        self._outputs: list[Output] = []
        self._output_contexts: list[Context] = []
        self._filters: list[ActiveFilter] = []
        self._processors: dict[tuple[PluginKind, str], list[ActiveFilter]] = {}
        self._dispatchers: list[Dispatcher] = []
        self._storage = new_storage(self._own_context())
        self._stop_wanted = asyncio.Event()
        self._is_asked_by_signal = False
        self._exit_status: int | None = None
        self._end_now = asyncio.Event()
        self._monitor: Monitor | None = None
        self.reload: Callable[[], bool] | None = None
        """Asks for a hot reload; true if it will be done, false if one is going on. Set before `run`."""
        self.reloads = 0
        """Hot reloads of this process so far. Set before `run`."""
        self.ledger = Ledger(self.metrics, [], [])

    async def run(self) -> int:
        """Run until told to stop; gives the exit code of the process."""
        try:
            await self._open_monitor()
            self._make_instances()
            await self._open_instances()
        except ConfigError as error:
            self._storage.close()
            await self._close_instances()
            await self._close_monitor()
            report(error, self._log)
            return error.exit_code
        self._tell_start()
        _settle_memory()
        async with asyncio.TaskGroup() as tasks:
            storing = [tasks.create_task(self._keep(b.run, name)) for name, b in self._storage.running()]
            if self._monitor is not None:
                self._monitor.watch(self._view())
                storing.append(tasks.create_task(self._keep(self._monitor.run, "http_server")))
            dispatching = [tasks.create_task(self._keep(d.run, d.name)) for d in self._dispatchers]
            for running in self._inputs:
                if running.intake.has_holders:
                    running.holding = tasks.create_task(self._keep(running.intake.run, running.context.alias))
                running.task = tasks.create_task(self._keep(_run_of(running), running.context.alias))
            await self._stop_wanted.wait()
            await self._stop(dispatching)
            await _cancel(storing)
        self._storage.close()
        await self._close_instances()
        await self._close_monitor()
        self._tell_end()
        return self._exit_status or 0

    def request_stop(self, reason: str = "") -> None:
        """Stop gracefully within Grace; asked a second time by a signal, stop at once with the state saved."""
        if reason:
            if self._stop_wanted.is_set():
                self._end_now.set()
            self._is_asked_by_signal = True
        self._stop_wanted.set()
        if reason:
            tell(f"[{time.strftime('%Y/%m/%d %H:%M:%S')}] [engine] caught signal ({reason})")

    def stop_service(self, status: int = 0) -> None:
        """Stop gracefully because a plugin asks for it; the process exits with the first status that was given."""
        if self._exit_status is None:
            self._exit_status = status
        self.request_stop()

    # -- making ------------------------------------------------------------------------------------------------------

    def _make_instances(self) -> None:
        """Make everything that the configuration names, and find what earlier runs have stored."""
        problems: list[Problem] = []
        backoff = Backoff(self._service.scheduler_base, self._service.scheduler_cap)
        outputs = [(i, self._make(i, problems)) for i in self._pipeline.outputs]
        filters = [(i, self._make(i, problems)) for i in self._pipeline.filters]
        inputs = [(i, self._make(i, problems)) for i in self._pipeline.inputs]
        self._processors = self._make_processors(problems)
        if problems:
            raise ConfigError(problems)
        for instance, (output, context) in [(i, made) for i, made in outputs if made]:
            if units := self._processors["output", instance.name]:
                output = ProcessedOutput(output, units, context)
            self._outputs.append(output)
            self._output_contexts.append(context)
            options = instance.options
            retries = options.retry_limit.retries if options.retry_limit else None
            concurrency = options.workers or output.concurrency
            dispatcher = Dispatcher(output, context, concurrency, retries, backoff, self._storage.rejected)
            self._dispatchers.append(dispatcher)
            self._storage.add_output(context, options, dispatcher)
        for instance, (one, context) in [(i, made) for i, made in filters if made]:
            match = match_route(instance.options.match, instance.options.match_regex)
            self._filters.append(ActiveFilter(one, match, context))
        routes = [Route(i.alias, i.options.match, i.options.match_regex) for i, _ in outputs]
        makers = [active for active in (*self._filters, *self._all_processors()) if active.filter.makes_tags]
        router = Router(routes, len(inputs) + len(makers))
        for warning in router.warnings:
            self._log.warning(warning.removeprefix("[engine] "))
        for instance, (one, context) in [(i, made) for i, made in inputs if made]:
            self._add_input(instance, one, context, router)
        self._storage.open(router)
        names = [running.context.alias for running in self._inputs]
        self.ledger = Ledger(self.metrics, names, self._dispatchers)

    def _make_processors(self, problems: list[Problem]) -> dict[tuple[PluginKind, str], list[ActiveFilter]]:
        """By input and output the filters that its batches alone go through, whatever their tags."""
        return {
            (i.kind, i.name): [
                ActiveFilter(made[0], _matches_any, made[1]) for p in i.processors if (made := self._make(p, problems))
            ]
            for i in (*self._pipeline.inputs, *self._pipeline.outputs)
        }

    def _all_processors(self) -> list[ActiveFilter]:
        return [active for units in self._processors.values() for active in units]

    def _own_context(self) -> Context:
        """The seams and the service's options for parts of the engine that are no instances."""
        return Context(
            kind="service",
            name="storage",
            alias="storage",
            log=Log("[storage] "),
            clock=self._clock,
            disk=self._disk,
            metrics=self.metrics,
            service=self._service,
        )

    def _add_input(self, instance: Instance, one: Input, context: Context, router: Router) -> None:
        buffer = self._storage.buffer_for(context, instance.options, keeps_source=one.keeps_source)
        filters = [*self._processors["input", instance.name], *self._filters]
        intake = Intake(context, filters, router, buffer, instance.options.routable, self._storage.rejected)
        self._inputs.append(_RunningInput(one, context, buffer, intake, instance.options.storage_type))

    def _make(self, instance: Instance, problems: list[Problem]) -> tuple[Any, Context] | None:
        context = Context(
            kind=instance.kind,
            name=instance.name,
            alias=instance.alias,
            log=instance.log(),
            clock=self._clock,
            disk=self._disk,
            metrics=self.metrics,
            service=self._service,
            parsers=self._pipeline.parsers,
            folder=self._pipeline.folder,
            memory_limit=_room_of(instance) if instance.kind == "input" else 0,
            stop_service=self.stop_service,
        )
        try:
            return instance.make(context), context
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    async def _open_instances(self) -> None:
        problems: list[Problem] = []
        opened: list[tuple[Instance, Callable[[], Any]]] = [
            *zip(self._pipeline.outputs, (o.open for o in self._outputs), strict=True),
            *zip(self._pipeline.filters, (f.filter.open for f in self._filters), strict=True),
            *zip(self._pipeline.processors(), (p.filter.open for p in self._all_processors()), strict=True),
            *zip(self._pipeline.inputs, (r.input.open for r in self._inputs), strict=True),
        ]
        for instance, open_instance in opened:
            error = await outcome(open_instance(), instance.log(), self._failures(instance.alias))
            if isinstance(error, OptionError):
                problems.append(instance.problem(error))
            elif error is not None:
                message = f"{instance.plugin}: the {instance.kind} cannot be opened: {error}"
                problems.append(Problem(message, instance.section.origin, exit_code=255))
        if problems:
            raise ConfigError(problems)

    # -- running -----------------------------------------------------------------------------------------------------

    async def _keep(self, component: Callable[[], Any], name: str) -> None:
        await keep_running(component, self._clock, Log(f"[engine] [{name}] "), self._failures(name))

    def _failures(self, name: str) -> Counter:
        return self.metrics.counter("engine_restarts_total", component=name)

    async def _stop(self, dispatching: list[asyncio.Task[None]]) -> None:
        """Stop in the direction of the flow: inputs, then the deliveries of what is held, at most for Grace."""
        grace = float(self._service.grace)
        if grace < 0:
            self._log.info("service will shutdown when all remaining tasks are flushed")
        else:
            self._log.warning(f"service will shutdown in max {grace:g} seconds")
        started = self._clock.monotonic()
        for dispatcher in self._dispatchers:
            dispatcher.hurry()
        if self._is_asked_by_signal:
            await self._wait_until_quiet(started + abs(grace) / 2)
        self._log.info("pausing all inputs..")
        await asyncio.gather(*(self._stop_input(running) for running in self._inputs))
        await self._hand_out_held()
        for dispatcher in self._dispatchers:
            dispatcher.begin_drain()
        left = None if grace < 0 else max(0.0, grace - (self._clock.monotonic() - started))
        await self._end_within(left, dispatching)

    async def _wait_until_quiet(self, until: float) -> None:
        """Let the inputs go on while they bring records, but not longer than until then."""
        while not self._end_now.is_set():
            now = self._clock.monotonic()
            last = max((running.intake.last_taken_at for running in self._inputs), default=0.0)
            left = min(last + QUIET_S, until) - now
            if left <= 0:
                return
            await self._clock.wait(self._end_now, left)

    async def _stop_input(self, running: _RunningInput) -> None:
        """Let the input hand out what it holds; waits a little for that."""
        task = running.task
        if task is None:
            return
        asked = asyncio.ensure_future(self._watched(_ask_to_end(running.input, task), running.context))
        await self._end_within(INPUT_STOP_S, [asked])
        await _cancel([task])

    async def _hand_out_held(self) -> None:
        """Let filters hand out what they hold; what finds no room in the buffer in time is still owed to its input."""
        holding = [(running, running.holding) for running in self._inputs if running.holding]
        await _cancel([task for _, task in holding])
        await self._end_within(
            INPUT_STOP_S,
            [asyncio.ensure_future(self._watched(r.intake.hand_out(), r.context)) for r, _ in holding],
        )

    async def _end_within(self, seconds: float | None, tasks: Sequence[asyncio.Future[None]]) -> None:
        """Wait until all tasks have ended, the time is over, or a second signal comes; then cancel what is left."""
        if tasks and not self._end_now.is_set():
            ended = asyncio.Event()
            watches = [
                asyncio.ensure_future(_tell_end_of(asyncio.wait(tasks), ended)),
                asyncio.ensure_future(_tell_end_of(self._end_now.wait(), ended)),
            ]
            await self._clock.wait(ended, seconds)
            await _cancel(watches)
        await _cancel(tasks)

    async def _watched(self, work: Awaitable[None], context: Context) -> None:
        """Wait for a step of the stop; a bug in it is logged and counted, and the stop goes on."""
        await outcome(work, context.log, self._failures(context.alias))

    async def _close_instances(self) -> None:
        """Close all, against whatever the others do; also those that were never opened."""
        inputs = [(running.input, running.context) for running in self._inputs]
        filters = [(active.filter, active.context) for active in (*self._all_processors(), *self._filters)]
        outputs = list(zip(self._outputs, self._output_contexts, strict=True))
        for instances in (inputs, filters, outputs):
            await asyncio.gather(*(self._close(one.close(), context) for one, context in instances))

    async def _close(self, closing: Awaitable[None], context: Context) -> None:
        """Wait for an instance to close, for a while."""
        ended = asyncio.Event()
        task = asyncio.ensure_future(_tell_end_of(self._watched(closing, context), ended))
        if not await self._clock.wait(ended, CLOSE_S):
            context.log.error("closing takes too long and is given up", after_s=CLOSE_S)
        await _cancel([task])

    # -- being watched -----------------------------------------------------------------------------------------------

    async def _open_monitor(self) -> None:
        if self._service.http_server:
            # Only now: a process that nobody asks need not carry it.
            from .monitoring.monitor import Monitor

            self._monitor = Monitor(self._service, self.metrics, self._clock, self.reload, self.reloads)
            await self._monitor.open()

    async def _close_monitor(self) -> None:
        if self._monitor is not None:
            await self._monitor.close()

    def _view(self) -> View:
        from .monitoring.view import view_of

        return view_of(
            self._pipeline,
            self.metrics,
            self.ledger,
            [(running.input, running.buffer) for running in self._inputs],
            list(zip(self._outputs, self._dispatchers, strict=True)),
            self._storage.running(),
        )

    # -- telling -----------------------------------------------------------------------------------------------------

    def _tell_start(self) -> None:
        log = Log("")
        log.info(f"[shipper] version={__version__}, pid={os.getpid()}")
        log.info(f"[storage] {self._storage.told()}")
        for running in self._inputs:
            running.context.log.info("initializing")
            running.context.log.info(f"storage_strategy={_STRATEGIES[running.storage_type or 'memory']}")
        grace = self._service.grace
        self._log.info(f"Shutdown Grace Period={grace:g}, Shutdown Input Grace Period={int(grace / 2)}")

    def _tell_end(self) -> None:
        held = sum(d.held()[0] for d in self._dispatchers)
        for line in self.ledger.lines():
            self._log.info(f"ledger {line}")
        delivered = sum(account.delivered for account in self.ledger.outputs())
        stored = self._storage.held_records()
        on_disk = f", {stored} of them on disk" if stored else ""
        self._log.info(f"service has stopped ({held} pending records{on_disk}, {delivered} delivered)")


def report(error: ConfigError, log: Log) -> None:
    """Log every problem of a configuration, one line each."""
    for problem in error.problems:
        Log("[config] ").error(str(problem))
    log.error("initialization failed; nothing was started")


def run_engine(pipeline: Pipeline) -> int:
    """Run the pipeline on a uvloop until a signal stops it; gives the exit code of the process."""
    import uvloop

    async def main() -> int:
        engine = Engine(pipeline)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, engine.request_stop, number.name)
        loop.add_signal_handler(signal.SIGHUP, _refuse_reload)
        return await engine.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _refuse_reload() -> None:
    Log("[reload] ").warning("hot reloading is not enabled")


def _room_of(instance: Instance) -> int:
    """The bytes of records as read that there is room for in the buffer of an input."""
    keeps_source = getattr(instance.type, "keeps_source", False)
    return memory_limit(instance.options, keeps_source=keeps_source).size // MEMORY_FACTOR


def _matches_any(tag: str) -> bool:
    return True


async def _ask_to_end(one: Input, task: asyncio.Task[None]) -> None:
    """Ask the input to stop, and wait until it has if it wants to."""
    if await one.stop():
        await asyncio.wait([task])


async def _tell_end_of(work: Awaitable[object], ended: asyncio.Event) -> None:
    await work
    ended.set()


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel the tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _run_of(running: _RunningInput) -> Callable[[], Any]:
    return lambda: running.input.run(running.intake.emit)


def _return_free_memory() -> None:
    """Give pages that the start used for a moment back to the system, where the C library can do that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _settle_memory() -> None:
    """Take what the start made out of the garbage collector's sight; batches make few cycles, so it may come rarely."""
    gc.collect()
    _return_free_memory()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
