"""Runs a pipeline: owns every task, starts them in one order and stops them in the other."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import __version__
from .assembly import Assembly, RunningInput, assemble
from .clock import Clock, SystemClock
from .disk import Disk, SystemDisk
from .errors import ConfigError, OptionError, Problem
from .ledger import Ledger
from .log import Log
from .metrics import Counter, Metrics
from .pipeline import Instance, Pipeline
from .stop import Stop
from .stopping import Stopping, cancel, reload_limit_s
from .supervisor import keep_running, outcome

if TYPE_CHECKING:
    from .monitoring.health import Health
    from .monitoring.monitor import Monitor
    from .monitoring.server import HttpServer
    from .monitoring.view import View

_Opening = tuple[Instance, Callable[[], Awaitable[None]]]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's `mallopt`; other libraries do not have it, or take no notice of them."""

_STRATEGIES = {
    "memory": "'memory' (memory only)",
    "filesystem": "'filesystem' (memory + filesystem)",
    "memrb": "'memrb' (memory ring buffer)",
}


class Engine:
    """One pipeline from start to stop; all state of a running shipper hangs here.

    `run` is its whole life. An engine that takes the place of another one goes step by step: `prepare` while that one
    still runs, `open` when it has ended, `serve`.
    """

    def __init__(self, pipeline: Pipeline, clock: Clock | None = None, disk: Disk | None = None) -> None:
        self.pipeline = pipeline
        self._service = pipeline.service
        self._clock: Clock = clock or SystemClock()
        self._disk: Disk = disk or SystemDisk()
        self._log = Log("[engine] ")
        self.metrics = Metrics()
        self.ledger = Ledger(self.metrics, [], [])
        self._stop = Stop()
        self._exit_status: int | None = None
        self._assembly: Assembly | None = None
        self._has_open_filters = False
        self._monitor: Monitor | None = None
        self.reload: Callable[[], bool] | None = None
        """Asks for a hot reload; true if it will be done, false if one is going on. Set before `run`."""
        self.reloads = 0
        """Hot reloads of this process so far. Set before `run`."""
        self.server: HttpServer | None = None
        """Listens already for the monitoring API, because another engine has left it or is to take it back."""
        self.health: Health | None = None
        """How it went in the engine before this one, and when this one has ended, in this one."""
        self._handed_over: Mapping[Hashable, Any] = {}
        """What inputs go on from, by source: in the end what those of this engine have handed over."""
        self._successor: Engine | None = None
        """Is to take its place."""

    async def run(self) -> int:
        """Run until told to stop; gives the exit code of the process."""
        try:
            await self._open_monitor()
            await self._make()
            await self.open()
        except ConfigError as error:
            report(error, self._log)
            return error.exit_code
        return await self.serve()

    def succeed(self, other: Engine) -> None:
        """Go on where another engine has ended, or has failed to begin; comes before `open`."""
        self.server, self.health, self._handed_over = other.server, other.health, other._handed_over

    async def prepare(self) -> None:
        """Make everything and open the filters, which another engine that runs does not notice.

        Raises `ConfigError` with every mistake found; what was opened is closed then.
        """
        await self._make()
        try:
            await self._open_all(self._filters())
        except (ConfigError, asyncio.CancelledError):
            await self.discard()
            raise
        self._has_open_filters = True

    async def open(self) -> None:
        """Open the storage, the outputs and the inputs, of which there can be one at a time, and the filters before.

        Raises `ConfigError` with every mistake found; everything is closed then.
        """
        made = self._made
        try:
            if self._monitor is None:
                await self._open_monitor()
            for running in made.inputs:
                running.input.go_on_from(self._handed_over)
            made.storage.open(made.router)
            outputs = zip(self.pipeline.outputs, (o.open for o in made.outputs), strict=True)
            inputs = zip(self.pipeline.inputs, (r.input.open for r in made.inputs), strict=True)
            await self._open_all([*outputs, *([] if self._has_open_filters else self._filters()), *inputs])
        except ConfigError:
            made.storage.close()
            # The configuration before this one comes back, and goes on from what it has handed over.
            await self._stopping(made).close(self._sources())
            await self._close_monitor(leaves_server=self._has_taken_over_server)
            raise
        if self.server is not None and not self._has_taken_over_server:
            await self.server.close()
        self.server = None

    async def serve(self) -> int:
        """Let records flow until told to stop, and close everything; gives the exit code of the process."""
        made = self._made
        self._tell_start(made)
        _settle_memory()
        stopping = self._stopping(made)
        async with asyncio.TaskGroup() as tasks:
            storing = [tasks.create_task(self._keep(b.run, name)) for name, b in made.storage.running()]
            storing.append(tasks.create_task(self._keep(made.storage.tell_losses, "losses")))
            if self._monitor is not None:
                self._monitor.watch(self._view(made))
                storing.append(tasks.create_task(self._keep(self._monitor.run, "http_server")))
            dispatching = [tasks.create_task(self._keep(d.run, d.name)) for d in made.dispatchers]
            for running in made.inputs:
                if running.intake.has_holders:
                    running.holding = tasks.create_task(self._keep(running.intake.run, running.context.alias))
                running.task = tasks.create_task(self._keep(_run_of(running), running.context.alias))
            await self._stop.wanted.wait()
            await stopping.run(dispatching)
            await cancel(storing)
        made.storage.close()
        successor = None if self.is_ending else self._successor
        await stopping.close(successor._sources() if successor is not None else ())
        self.health = self._monitor.health if self._monitor is not None else None
        self._handed_over = dict(filter(None, (running.input.handed_over() for running in made.inputs)))
        await self._close_monitor(leaves_server=not self.is_ending)
        self._tell_end(made)
        return self._exit_status or 0

    async def discard(self) -> None:
        """Close what `prepare` has opened; the engine will not run."""
        await self._stopping(self._made).close_filters()
        await self._close_monitor()

    # -- being asked -------------------------------------------------------------------------------------------------

    @property
    def is_ending(self) -> bool:
        """Whether it was asked to stop, and not only to make room for another engine."""
        return self._stop.is_final.is_set()

    def request_stop(self, *, by_signal: bool = False) -> None:
        """Stop gracefully within Grace; asked a second time by a signal, stop at once with the state saved."""
        self._stop.ask(by_signal=by_signal)

    def stop_service(self, status: int = 0) -> None:
        """Stop gracefully because a plugin asks for it; the process exits with the first status that was given."""
        if self._exit_status is None:
            self._exit_status = status
        self.request_stop()

    def retire(self, successor: Engine) -> None:
        """Stop to make room for another engine: wait for everything pending, and leave the monitoring API its port.

        While it waits yet another engine may become the one that takes its place. It takes as long as the options of
        all that were named allow, and its own.
        """
        self._successor = successor
        limit_s = min(reload_limit_s(self._service), reload_limit_s(successor._service))
        self._stop.retire(self._clock.monotonic(), limit_s)

    def dump(self) -> str:
        """How inputs, tasks and storage are, for people; empty before anything was made."""
        if self._assembly is None:
            return ""
        from .monitoring.dump import render_dump

        return render_dump(self._view(self._assembly))

    def stored_records(self) -> int:
        """Records in the folder of storage.path that some output has still to get, counted once for each."""
        return self._made.storage.held_records()

    # -- starting ----------------------------------------------------------------------------------------------------

    @property
    def _made(self) -> Assembly:
        if self._assembly is None:
            raise RuntimeError("the engine was not prepared")
        return self._assembly

    async def _make(self) -> None:
        try:
            made = assemble(self.pipeline, self.metrics, self._clock, self._disk, self.stop_service)
        except ConfigError:
            await self._close_monitor()
            raise
        self._assembly, self.ledger = made, made.ledger

    def _sources(self) -> set[Hashable]:
        """What the inputs read from, as far as they can go on from where others were."""
        return {running.input.source for running in self._made.inputs} - {None}

    def _filters(self) -> list[_Opening]:
        """The filters and processors with what opens them."""
        made, pipeline = self._made, self.pipeline
        return [
            *zip(pipeline.filters, (f.filter.open for f in made.filters), strict=True),
            *zip(pipeline.processors(), (p.filter.open for p in made.all_processors()), strict=True),
        ]

    async def _open_all(self, opened: Sequence[_Opening]) -> None:
        """Open all, whatever becomes of the others; raises `ConfigError` with every mistake."""
        problems: list[Problem] = []
        for instance, open_instance in opened:
            error = await outcome(open_instance(), instance.log(), self._failures(instance.alias))
            if isinstance(error, OptionError):
                problems.append(instance.problem(error))
            elif error is not None:
                message = f"{instance.plugin}: the {instance.kind} cannot be opened: {error}"
                problems.append(Problem(message, instance.section.origin, exit_code=255))
        if problems:
            raise ConfigError(problems)

    def _stopping(self, made: Assembly) -> Stopping:
        return Stopping(made, self._stop, self._service, self._clock, self.metrics)

    # -- running -----------------------------------------------------------------------------------------------------

    async def _keep(self, component: Callable[[], Any], name: str) -> None:
        await keep_running(component, self._clock, Log(f"[engine] [{name}] "), self._failures(name))

    def _failures(self, name: str) -> Counter:
        return self.metrics.counter("engine_restarts_total", component=name)

    # -- being watched -----------------------------------------------------------------------------------------------

    async def _open_monitor(self) -> None:
        if self._service.http_server:
            # Only now: a process that nobody asks need not carry it.
            from .monitoring.monitor import Monitor

            before = self.reload, self.reloads, self.server, self.health
            monitor = Monitor(self._service, self.metrics, self._clock, *before)
            if self.server is not None and not monitor.has_taken_over and self.server.port == self._service.http_port:
                # Addresses of one port may be in each other's way, such as 127.0.0.1 and 0.0.0.0.
                await self.server.close()
                self.server = None
            await monitor.open()
            self._monitor = monitor

    async def _close_monitor(self, *, leaves_server: bool = False) -> None:
        """Close the monitoring, maybe but for its server, which another engine goes on with."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None and leaves_server:
            self.server = monitor.release()
        elif monitor is not None:
            await monitor.close()

    @property
    def _has_taken_over_server(self) -> bool:
        return self._monitor is not None and self._monitor.has_taken_over

    def _view(self, assembly: Assembly) -> View:
        from .monitoring.view import view_of

        return view_of(
            self.pipeline,
            self.metrics,
            self.ledger,
            [(running.input, running.buffer) for running in assembly.inputs],
            list(zip(assembly.outputs, assembly.dispatchers, strict=True)),
            assembly.storage.running(),
        )

    # -- telling -----------------------------------------------------------------------------------------------------

    def _tell_start(self, assembly: Assembly) -> None:
        log = Log("")
        log.info(f"[shipper] version={__version__}, pid={os.getpid()}")
        log.info(f"[storage] {assembly.storage.told()}")
        if self.pipeline.files:
            log.info(f"[config] sha256={self.pipeline.sha256}, files={' '.join(self.pipeline.files)}")
        for running in assembly.inputs:
            running.context.log.info("initializing")
            running.context.log.info(f"storage_strategy={_STRATEGIES[running.storage_type or 'memory']}")
        grace = self._service.grace
        self._log.info(f"Shutdown Grace Period={grace:g}, Shutdown Input Grace Period={int(grace / 2)}")

    def _tell_end(self, assembly: Assembly) -> None:
        held = sum(d.held()[0] for d in assembly.dispatchers)
        for line in self.ledger.lines():
            self._log.info(f"ledger {line}")
        delivered = sum(account.delivered for account in self.ledger.outputs())
        stored = assembly.storage.held_records()
        on_disk = f", {stored} of them on disk" if stored else ""
        self._log.info(f"service has stopped ({held} pending records{on_disk}, {delivered} delivered)")


def report(error: ConfigError, log: Log) -> None:
    """Log every problem of a configuration, one line each."""
    for problem in error.problems:
        Log("[config] ").error(str(problem))
    log.error("initialization failed; nothing was started")


def _run_of(running: RunningInput) -> Callable[[], Any]:
    return lambda: running.input.run(running.intake.emit)


def _return_free_memory() -> None:
    """Give pages that the start used for a moment back to the system, where the C library can do that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _keep_memory_of_batches() -> None:
    """Let the texts of one batch use the memory of the one before.

    The C library gives what is larger than 128 KiB back to the system at once, which then clears every page of it again
    for the next batch: a twentieth of all CPU time.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_TRIM_THRESHOLD, 8 << 20)
        set_option(_M_MMAP_THRESHOLD, 4 << 20)


def _settle_memory() -> None:
    """Take what the start made out of the garbage collector's sight; batches make few cycles, so it may come rarely."""
    # What an engine before this one has left was taken out, too.
    gc.unfreeze()
    gc.collect()
    _return_free_memory()
    _keep_memory_of_batches()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
