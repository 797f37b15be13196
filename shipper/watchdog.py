"""Ends a process whose event loop stands still, and says where it stands; what it held is owed to its inputs.

A process like that looks alive to the system and delivers nothing, so it is better to begin anew. The loop gives a beat
every second, and two parties miss it: a thread, which ends the process when the loop waits for the system or for a
lock, and a timer of the kernel, which does so when the loop computes without end and lets no thread run, as a regular
expression can. The thread counts its own turns and the timer counts the time that the process computes, so that a
process that was frozen is not taken for one that hangs.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

BEAT_S = 1.0
STATUS = 70
"""The exit code; it is the one that stands for a mistake in the program. The kernel's timer ends it by SIGPROF."""

_TELL_WITHIN_S = 5.0


class Watchdog:
    """Watches the event loop that `run` runs on; `limit_s` tells how long it may stand still, 0 for any time."""

    def __init__(self, limit_s: Callable[[], float]) -> None:
        self._limit_s = limit_s
        self._beats = 0
        self._is_over = threading.Event()

    async def run(self) -> None:
        """Beat until cancelled."""
        faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        try:
            while True:
                self._beats += 1
                signal.setitimer(signal.ITIMER_PROF, self._limit_s())
                await asyncio.sleep(BEAT_S)
        finally:
            self._is_over.set()
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.unregister(signal.SIGPROF)

    def _watch(self) -> None:
        seen, missed, turned_at = 0, 0, time.monotonic()
        while not self._is_over.wait(BEAT_S):
            # A turn that was late by itself was frozen, and so was the loop; whichever of them is let go on first.
            is_late = time.monotonic() - turned_at > 2 * BEAT_S
            turned_at = time.monotonic()
            missed = missed + 1 if seen == self._beats and not is_late else 0
            seen = self._beats
            limit_s = self._limit_s()
            if limit_s and missed * BEAT_S >= limit_s:
                _end(limit_s)


def _end(limit_s: float) -> None:
    """Tell where every thread is, and end the process without asking anybody."""
    # Who should read what we tell may be what the loop waits for.
    threading.Timer(_TELL_WITHIN_S, os._exit, (STATUS,)).start()
    told = f"[watchdog] the event loop stands still for {limit_s:g} s; the process ends and has to be started again\n"
    os.write(sys.stderr.fileno(), told.encode())
    faulthandler.dump_traceback(all_threads=True)
    os._exit(STATUS)
