"""Where bugs stop: a component that fails unexpectedly is logged with its traceback, counted and started again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .clock import Clock
from .errors import OptionError, Rejected, RetryLater
from .log import Log
from .metrics import Counter

LONGEST_PAUSE_S = 60.0


async def outcome(
    work: Awaitable[object],
    log: Log,
    failures: Counter,
    told: str = "unexpected failure; what it worked on is still owed",
    every: float = 0,
) -> Exception | None:
    """Wait for the work; give back the exception it ended with, None if it ended well.

    Cancellation travels on. The caller decides what the exception means; it has been logged only if it was no
    exception that components exchange on purpose, at most once in `every` seconds.
    """
    try:
        await work
    except (RetryLater, Rejected, OptionError) as error:
        return error
    except Exception as error:
        failures.add()
        log.exception(told, every=every)
        return error
    return None


async def keep_running(component: Callable[[], Awaitable[None]], clock: Clock, log: Log, failures: Counter) -> None:
    """Run a component until it ends by itself; after a bug start it again, after a growing pause.

    An `OptionError` is no bug: it is logged once and ends the component.
    """
    pause = 1.0
    while True:
        started = clock.monotonic()
        error = await outcome(component(), log, failures)
        if error is None:
            return
        if isinstance(error, OptionError):
            log.error(str(error))
            return
        if clock.monotonic() - started > LONGEST_PAUSE_S:
            pause = 1.0
        log.warning("component is started again", pause_s=pause, reason=error)
        await clock.sleep(pause)
        pause = min(LONGEST_PAUSE_S, pause * 2)
