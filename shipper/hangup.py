"""SIGHUP while the process begins: it must not end it, and what it asks for is done later."""

from __future__ import annotations

import signal


class EarlyHangup:
    """Takes note of a SIGHUP in place of those who act on it and are not there yet."""

    def __init__(self) -> None:
        self.has_come = False

    def __call__(self, number: int, frame: object) -> None:
        self.has_come = True


def await_hangup() -> None:
    """Let no SIGHUP end the process from now on."""
    signal.signal(signal.SIGHUP, EarlyHangup())


def awaited_hangup() -> EarlyHangup:
    """What takes note of one, until another handler takes its place."""
    found = signal.getsignal(signal.SIGHUP)
    return found if isinstance(found, EarlyHangup) else EarlyHangup()
