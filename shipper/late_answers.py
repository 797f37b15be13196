"""Inputs whose senders wait for their answer longer than they will, because of the outputs behind them."""

from __future__ import annotations

from .pipeline import Instance, Pipeline
from .router import Route, outputs_without_tags


def late_answers(pipeline: Pipeline) -> list[str]:
    """A remark for each input that answers after delivery, with an output behind it that collects for longer."""
    return [_remark(one, output) for one in pipeline.inputs for output in pipeline.outputs if _is_late(one, output)]


def _is_late(one: Instance, output: Instance) -> bool:
    patience_s = getattr(one.options, "answers_within_s", None)
    collects_s = getattr(output.options, "upload_timeout", None)
    if patience_s is None or collects_s is None or collects_s <= patience_s:
        return False
    route = Route(output.name, output.options.match, output.options.match_regex)
    return not outputs_without_tags([route], [one.options.tag or one.name])


def _remark(one: Instance, output: Instance) -> str:
    patience_s, collects_s = one.options.answers_within_s, output.options.upload_timeout
    return (
        f"{one.section.origin}: {one.plugin}: a sender is answered when its records are delivered, or 503 after "
        f"{patience_s:g} s, and {output.alias} collects for up to {collects_s:g} s - add storage.type filesystem, "
        "or answer_after buffered"
    )
