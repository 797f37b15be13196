"""Signals while the process begins, when those who act on them are not there yet.

A SIGHUP must not end the process, and what it asks for is done later. A signal to stop ends it at once: nothing was
begun. As the first process of a container it would not even notice one for which it has no handler.
"""

from __future__ import annotations

import signal

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class EarlyHangup:
    """Takes note of a SIGHUP."""

    def __init__(self) -> None:
        self.has_come = False

    def __call__(self, number: int, frame: object) -> None:
        self.has_come = True


def take_early_signals() -> None:
    """Let no SIGHUP end the process from now on, and a signal to stop end it with exit code 0."""
    signal.signal(signal.SIGHUP, EarlyHangup())
    for number in STOPPING:
        signal.signal(number, _stop)


def leave_signals_alone() -> None:
    """Have signals to stop end the process as any other: for commands that do something else than to run."""
    for number in STOPPING:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def awaited_hangup() -> EarlyHangup:
    """What takes note of a SIGHUP, until another handler takes its place."""
    found = signal.getsignal(signal.SIGHUP)
    return found if isinstance(found, EarlyHangup) else EarlyHangup()


def _stop(number: int, frame: object) -> None:
    raise SystemExit(0)
