"""The account of every record: read = delivered + held + dropped for a named reason.

For an input: what was read, plus what filters added, was stored for at least one output, taken out by filters, had no
route, or is held by a filter that keeps records back. For an output: what was routed to it was delivered, is held, or
was dropped. Both sides are counted apart from each other, so a difference shows a mistake of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .dispatcher import Dispatcher
from .metrics import Metrics


class InputAccount(msgspec.Struct, frozen=True):
    """Records of one input; `held` are those that filters keep back."""

    name: str
    read: int
    added: int
    stored: int
    filtered: int
    no_route: int
    held: int = 0

    @property
    def is_balanced(self) -> bool:
        return self.read + self.added == self.stored + self.filtered + self.no_route + self.held

    def __str__(self) -> str:
        held = f"held={self.held} " if self.held else ""
        return (
            f"input {self.name}: read={self.read} added={self.added} stored={self.stored} "
            f"filtered={self.filtered} no_route={self.no_route} {held}{_verdict(self.is_balanced)}"
        )


class OutputAccount(msgspec.Struct, frozen=True):
    """Records of one output; `dropped` is by reason."""

    name: str
    routed: int
    delivered: int
    held: int
    dropped: dict[str, int]

    @property
    def is_balanced(self) -> bool:
        return self.routed == self.delivered + self.held + sum(self.dropped.values())

    def __str__(self) -> str:
        reasons = "".join(f" dropped.{reason}={n}" for reason, n in sorted(self.dropped.items()))
        return (
            f"output {self.name}: routed={self.routed} delivered={self.delivered} held={self.held} "
            f"dropped={sum(self.dropped.values())}{reasons} {_verdict(self.is_balanced)}"
        )


class Ledger:
    """Draws up the accounts of the inputs and outputs of an engine."""

    def __init__(self, metrics: Metrics, inputs: Sequence[str], outputs: Sequence[tuple[str, str, Dispatcher]]) -> None:
        self._metrics = metrics
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)

    def inputs(self) -> list[InputAccount]:
        """The accounts of the inputs as they stand now."""
        return [self._input(name) for name in self._inputs]

    def outputs(self) -> list[OutputAccount]:
        """The accounts of the outputs as they stand now."""
        return [self._output(name, alias, dispatcher) for name, alias, dispatcher in self._outputs]

    def lines(self) -> list[str]:
        """One line per account, for the log."""
        return [str(account) for account in (*self.inputs(), *self.outputs())]

    def _input(self, name: str) -> InputAccount:
        def count(what: str) -> int:
            return self._metrics.total(f"input_{what}_records_total", name=name)

        read = self._metrics.total("input_records_total", name=name)
        held = int(self._metrics.value("input_held_records", name=name))
        return InputAccount(name, read, count("added"), count("stored"), count("filtered"), count("dropped"), held)

    def _output(self, name: str, alias: str, dispatcher: Dispatcher) -> OutputAccount:
        metrics = self._metrics
        return OutputAccount(
            alias,
            metrics.total("routing_records_total", output=name),
            metrics.total("output_proc_records_total", name=alias),
            dispatcher.held()[0],
            metrics.by_label("output_dropped_records_total", "reason", name=alias),
        )


def _verdict(is_balanced: bool) -> str:
    return "balanced" if is_balanced else "NOT BALANCED"
