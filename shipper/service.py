"""The process around the engines: the event loop, the signals, and hot reload.

A reload reads and checks the new configuration completely while the old one goes on: a mistake ends it there. Then the
old engine retires: it delivers what it holds and releases ports, positions and storage, which the new one takes up. If
the new one cannot, an engine with the old configuration does.

Signals that come meanwhile are not lost: however many there were, the files are read once more, so that the newest ones
win. While the old engine still waits for an output, what was read anew takes the place of what waits with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial

from .clock import Clock
from .config.service import ServiceOptions, configure_log
from .descriptors import raise_limit
from .early_signals import STOPPING, awaited_hangup
from .engine import Engine, report
from .errors import ConfigError, Problem
from .log import Log, tell
from .pipeline import Pipeline, PipelineError
from .supervisor import outcome
from .watchdog import Watchdog

Load = Callable[[list[str]], Awaitable[Pipeline]]
"""Reads the configuration anew, and adds remarks to the list; raises `ConfigError`."""

READ_WITHIN_S = 10.0
"""Longest wait for the files of a configuration; they may be on a disk that does not answer."""

FAILED = "hot_reload_failed_total"
"""Counts the reloads after which the old configuration went on, over all engines of the process."""


class Service:
    """The engines of a process, one after the other; `run` goes on until the last one has ended."""

    def __init__(self, pipeline: Pipeline, load: Load, clock: Clock | None = None) -> None:
        self._load = load
        self._clock = clock
        self._log = Log("[reload] ")
        self._reloads = 0
        self._failed = 0
        self._wanted = asyncio.Event()
        """Somebody has asked for a reload, and the files were not read since."""
        self._is_preparing = False
        self._is_settled = asyncio.Event()
        """No engine is just taking the place of another."""
        self._is_settled.set()
        self._next: Engine | None = None
        """Is ready to take the place of the engine that runs."""
        self.engine = self._new_engine(pipeline)
        """The engine that runs."""

    async def run(self) -> int:
        """Run until told to stop; gives the exit code of the process."""
        async with asyncio.TaskGroup() as tasks:
            reloading = tasks.create_task(self._reload_when_asked())
            status = await self.engine.run()
            while self._next is not None and not self.engine.is_ending:
                if not await self._change_over():
                    status = 0 if self.engine.is_ending else 255
                    break
                status = await self.engine.serve()
            reloading.cancel()
            if self._next is not None:
                await self._next.discard()
            if self.engine.server is not None:
                await self.engine.server.close()
        return status

    # -- being asked -------------------------------------------------------------------------------------------------

    def request_stop(self, signal_name: str) -> None:
        """Stop because of a signal; see `Engine.request_stop`."""
        self.engine.request_stop(by_signal=True)
        _tell_signal(signal_name)

    def request_reload(self, signal_name: str) -> None:
        """Reload because of a signal; if a reload goes on, with the files as they are now."""
        if self.engine.pipeline.service.hot_reload:
            self._wanted.set()
        _tell_signal(signal_name)
        if not self.engine.pipeline.service.hot_reload:
            self._log.warning("hot reloading is not enabled")

    def ask_for_reload(self) -> bool:
        """Reload because somebody asks who can ask again: false, and nothing is done, if a reload goes on."""
        if self._is_reloading or self._wanted.is_set():
            return False
        self._wanted.set()
        return True

    def dump(self, signal_name: str) -> None:
        """Print how inputs, tasks and storage are."""
        _tell_signal(signal_name)
        tell(f"[{_now()}] Fluent Bit Dump\n{self.engine.dump()}")

    # -- reloading ---------------------------------------------------------------------------------------------------

    def _new_engine(self, pipeline: Pipeline) -> Engine:
        engine = Engine(pipeline, self._clock)
        engine.reload = self.ask_for_reload
        engine.reloads = self._reloads
        if pipeline.service.hot_reload:
            engine.metrics.counter(FAILED).add(self._failed)
        return engine

    @property
    def _is_reloading(self) -> bool:
        return self._is_preparing or self._next is not None or not self._is_settled.is_set()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._wanted.wait()
            self._is_preparing = True
            self._wanted.clear()
            self._reopen_log()
            failures = self.engine.metrics.counter("engine_restarts_total", component="reload")
            told = "a reload has failed unexpectedly; the old configuration goes on"
            if await outcome(self._reload(), self._log, failures, told) is not None:
                self._count_failure()
            self._is_preparing = False

    async def _reload(self) -> None:
        """Prepare the next engine and let the one that runs retire; another one that waits for that is discarded."""
        prepared = await self._prepared()
        if prepared is None:
            return
        waiting, self._next = self._next, prepared
        await self._is_settled.wait()
        self._log.info("stop everything of the old context")
        self.engine.retire(prepared)
        if waiting is not None:
            await waiting.discard()

    def _reopen_log(self) -> None:
        """Begin a new log file if somebody has taken away the one there was, whatever becomes of the reload."""
        service = self._engines()[-1].pipeline.service
        if service.log_file:
            try:
                configure_log(service)
            except ConfigError as error:
                self._log.error("the log file cannot be opened anew", reason=error)

    async def _prepared(self) -> Engine | None:
        """Read the configuration and make all that can be made beside the engine that runs; None if it is refused."""
        self._log.info(f"reloading instance pid={os.getpid()} tid={threading.get_native_id()}")
        warnings: list[str] = []
        try:
            pipeline = await self._load(warnings)
        except ConfigError as error:
            is_readable = isinstance(error, PipelineError) and bool(error.failed)
            self._refuse(error, f"reloaded config {'' if is_readable else 'format '}is invalid. Reloading is halted")
            return None
        finally:
            for warning in warnings:
                Log("[config] ").warning(warning)
        engine = self._new_engine(pipeline)
        try:
            await engine.prepare()
        except ConfigError as error:
            self._refuse(error, "reloaded config is invalid. Reloading is halted")
            return None
        try:
            _change_log(self._engines()[-1].pipeline.service, pipeline.service)
        except ConfigError as error:
            await engine.discard()
            self._refuse(error, "reloaded config is invalid. Reloading is halted")
            return None
        return engine

    async def _change_over(self) -> bool:
        """Let the next engine take the place of the one that has retired; false if none is left to go on."""
        self._is_settled.clear()
        old, new = self.engine, self._next
        assert new is not None
        self._next = None
        self._log.info("start everything")
        new.succeed(old)
        new.reloads = self._reloads + 1
        self.engine = new
        try:
            if (stranded := _stranded(old, new)) is not None:
                await new.discard()
                raise ConfigError([stranded])
            await new.open()
        except ConfigError as error:
            self._refuse(error, "reloaded config cannot be started; going back to the one before it")
            if new.is_ending or not await self._go_back(old.pipeline):
                return False
        else:
            self._reloads += 1
            self._log.info("successful reload done.")
        self._is_settled.set()
        return True

    async def _go_back(self, pipeline: Pipeline) -> bool:
        """Open what ran before once more; false if that fails, too."""
        engine = self._new_engine(pipeline)
        engine.succeed(self.engine)
        failed, self.engine = self.engine, engine
        try:
            _change_log(failed.pipeline.service, pipeline.service)
            await engine.prepare()
            await engine.open()
        except ConfigError as error:
            report(error, self._log)
            self._log.error("reloading is aborted and exit")
            return False
        return True

    def _refuse(self, error: ConfigError, told: str) -> None:
        """Tell why there is no reload, and count that."""
        for problem in error.problems:
            Log("[config] ").error(str(problem))
        self._log.error(told)
        self._count_failure()
        for engine in self._engines():
            for instance in engine.pipeline.instances():
                instance.log()  # at its own level, which the refused configuration may have set otherwise

    def _count_failure(self) -> None:
        self._failed += 1
        for engine in self._engines():
            engine.metrics.counter(FAILED).add()

    def _engines(self) -> list[Engine]:
        """The engine that runs, and the one that waits for its place if there is one."""
        return [self.engine] if self._next is None else [self.engine, self._next]


def run_service(pipeline: Pipeline, load: Callable[[list[str]], Pipeline]) -> int:
    """Run the pipeline on a uvloop until a signal stops it; gives the exit code of the process.

    `load` reads the configuration again at a hot reload; it is called in a thread, which is left alone if it hangs.
    """
    import uvloop

    raise_limit()

    async def main() -> int:
        service = Service(pipeline, partial(load_beside, load, READ_WITHIN_S))
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, service.request_stop, number.name)
        early = awaited_hangup()
        loop.add_signal_handler(signal.SIGHUP, service.request_reload, "SIGHUP")
        if early.has_come:
            service.request_reload("SIGHUP")
        loop.add_signal_handler(signal.SIGCONT, service.dump, "SIGCONT")
        watchdog = Watchdog(lambda: service.engine.pipeline.service.watchdog_timeout)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(watchdog.run())
            try:
                return await service.run()
            finally:
                beating.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def load_beside(load: Callable[[list[str]], Pipeline], within_s: float, warnings: list[str]) -> Pipeline:
    """Load in a thread, while the loop goes on; raises `ConfigError`, also if it takes too long."""
    loop, loaded, remarks = asyncio.get_running_loop(), asyncio.Future[Pipeline](), list[str]()

    def settle(pipeline: Pipeline | None, error: Exception | None) -> None:
        if loaded.done():
            return
        if pipeline is not None:
            loaded.set_result(pipeline)
        else:
            loaded.set_exception(error or RuntimeError("nothing was loaded"))

    def run() -> None:
        pipeline, failure = None, None
        try:
            pipeline = load(remarks)
        except Exception as error:  # it is raised where the result is waited for
            failure = error
        with contextlib.suppress(RuntimeError):  # nobody waits any more, the loop is closed
            loop.call_soon_threadsafe(settle, pipeline, failure)

    # One that hangs must not be waited for at the end of the process, as those of a pool are.
    threading.Thread(target=run, name="load", daemon=True).start()
    try:
        async with asyncio.timeout(within_s):
            return await loaded
    except TimeoutError as error:
        remedy = "see to the disk or network that they are on"
        message = f"the configuration files could not be read within {within_s:g} s"
        raise ConfigError([Problem(message, None, remedy)]) from error
    finally:
        warnings += remarks


def _change_log(before: ServiceOptions, after: ServiceOptions) -> None:
    """Let the log go where the new options say, if they say anything new; raises `ConfigError` if that cannot be."""
    if (before.log_level, before.log_file) != (after.log_level, after.log_file):
        configure_log(after)


def _stranded(old: Engine, new: Engine) -> Problem | None:
    """The problem if nobody would look any more into the folder where the old engine has left records."""
    before, after = old.pipeline.service.storage_path, new.pipeline.service.storage_path
    left = old.stored_records()
    if before is None or not left or (after is not None and os.path.realpath(before) == os.path.realpath(after)):
        return None
    message = f"storage.path cannot go from {before} to {after or 'none'}: {left} records are still owed in {before}"
    remedy = f"wait until they are delivered; or end the process, move {before} to the new place, and start it again"
    return Problem(message, new.pipeline.service_section.origin_of("storage.path"), remedy, 255)


def _tell_signal(name: str) -> None:
    tell(f"[{_now()}] [engine] caught signal ({name})")


def _now() -> str:
    return time.strftime("%Y/%m/%d %H:%M:%S")
