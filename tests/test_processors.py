"""Processors: filters of one input, from the configuration to its batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.environment import Environment
from shipper.config.load import load_file
from shipper.engine import Engine
from shipper.pipeline import Pipeline, PipelineError, build_pipeline, try_instances
from shipper.testing import batch_of

OUTPUT = "  outputs:\n    - {name: 'null', match: '*'}\n"


class Builder:
    """Builds pipelines from YAML texts; keeps the warnings of the last one."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "c.yaml"
        self.warnings: list[str] = []

    def build(self, text: str) -> Pipeline:
        self._file.write_text(text)
        environment = Environment({}, host_name="node-1")
        configuration = load_file(str(self._file), environment)
        self.warnings = configuration.warnings
        return build_pipeline(configuration, environment)

    def with_processors(self, *units: str) -> Pipeline:
        """A pipeline whose first input has these processors, and whose second one has none."""
        lines = [f"          - {unit}\n" for unit in units]
        inputs = f"    - name: dummy\n      tag: a\n      processors:\n        logs:\n{''.join(lines)}"
        return self.build(f"pipeline:\n  inputs:\n{inputs}    - {{name: dummy, tag: b}}\n{OUTPUT}")

    def told(self, *units: str) -> list[str]:
        with pytest.raises(PipelineError) as caught:
            self.with_processors(*units)
        return [problem.message for problem in caught.value.problems]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


def test_processors_are_named_after_their_input_and_need_no_match(builder: Builder) -> None:
    pipeline = builder.with_processors(
        "{name: modify, add: k v}", "{name: Content_Modifier, action: delete, key: k, alias: clean}"
    )

    assert [(p.kind, p.name, p.alias) for p in pipeline.inputs[0].processors] == [
        ("filter", "dummy.0/modify.0", "dummy.0/modify.0"),
        ("filter", "dummy.0/content_modifier.1", "clean"),
    ]
    assert (pipeline.inputs[1].processors, pipeline.filters) == ((), ())


def test_a_processor_that_is_not_active_is_left_out(builder: Builder) -> None:
    pipeline = builder.with_processors("{name: modify, add: k v, active: false}")

    assert pipeline.processors() == ()


def test_the_match_of_a_processor_is_ignored_with_a_remark(builder: Builder) -> None:
    builder.with_processors("{name: modify, add: k v, match: x}")

    assert [w.split(": ", 1)[1] for w in builder.warnings] == [
        "'match' of a processor is ignored: it gets all records of its input"
    ]


def test_every_mistake_of_every_processor_is_told(builder: Builder) -> None:
    told = builder.told(
        "{name: modifi}", "{add: k v}", "{name: modify, ad: k v}", "{name: sql}", "{name: content_modifier, key: k}"
    )

    assert told == [
        "section 'modifi' tried to instance a plugin name that doesn't exist: no filter is called so",
        "a processor is missing the 'name' property",
        "modify: unknown option 'ad'",
        "processor 'sql' is not available yet",
        "content_modifier: option 'action' is required",
    ]


def test_processors_of_an_output_are_refused(builder: Builder) -> None:
    output = "{name: 'null', match: '*', processors: {logs: [{name: modify, add: k v}]}}"

    with pytest.raises(PipelineError, match="processors of an output are not available yet"):
        builder.build(f"pipeline:\n  inputs: [{{name: dummy}}]\n  outputs: [{output}]\n")


def test_processors_are_among_all_instances(builder: Builder) -> None:
    pipeline = builder.with_processors("{name: modify, add: k v}")

    assert [instance.name for instance in pipeline.instances()] == ["null.0", "dummy.0/modify.0", "dummy.0", "dummy.1"]
    try_instances(pipeline)


async def test_processors_act_on_the_batches_of_their_input_before_the_filters(builder: Builder) -> None:
    filters = "  filters:\n    - {name: modify, match: '*', add: k from_filter}\n"
    processors = "processors: {logs: [{name: modify, add: k from_processor}]}"
    engine = Engine(
        builder.build(
            f"pipeline:\n  inputs:\n    - {{name: dummy, {processors}}}\n    - {{name: dummy}}\n{filters}{OUTPUT}"
        )
    )
    engine._make_instances()
    batches = [batch_of("one"), batch_of("two")]

    for running, batch in zip(engine._inputs, batches, strict=True):
        await running.intake.emit(batch)

    assert [record.body for batch in batches for record in batch] == [
        {"log": "one", "k": "from_processor"},
        {"log": "two", "k": "from_filter"},
    ]
    passed = engine.metrics.counter("filter_records_total", name="dummy.0/modify.0")
    assert passed.value == 1


async def test_an_engine_with_processors_starts_and_stops(builder: Builder) -> None:
    engine = Engine(builder.with_processors("{name: content_modifier, action: delete, key: x}"))
    engine.request_stop()

    assert await engine.run() == 0
