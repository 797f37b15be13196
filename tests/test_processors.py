"""Processors: filters of one input or output, and conditions, from the configuration to the batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.assembly import Assembly, assemble
from shipper.clock import SystemClock
from shipper.config.environment import Environment
from shipper.config.load import load_file
from shipper.disk import SystemDisk
from shipper.engine import Engine
from shipper.metrics import Metrics
from shipper.pipeline import Pipeline, PipelineError, build_pipeline, try_instances
from shipper.record import Record
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


def assembled(pipeline: Pipeline) -> tuple[Assembly, Metrics]:
    metrics = Metrics()
    return assemble(pipeline, metrics, SystemClock(), SystemDisk(), lambda status=0: None), metrics


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


def test_processors_of_an_output_are_named_after_it(builder: Builder) -> None:
    output = "{name: 'null', match: '*', processors: {logs: [{name: modify, add: k v}]}}"

    pipeline = builder.build(f"pipeline:\n  inputs: [{{name: dummy}}]\n  outputs: [{output}]\n")

    assert [p.name for p in pipeline.outputs[0].processors] == ["null.0/modify.0"]
    assert [p.name for p in pipeline.processors()] == ["null.0/modify.0"]
    try_instances(pipeline)


@pytest.mark.parametrize(
    ("unit", "is_possible"),
    [
        ("{name: rewrite_tag, rule: '$log ^E errors false'}", False),
        ("{name: multiline, multiline.parser: java, multiline.key_content: log}", False),
        ("{name: multiline, multiline.parser: java, multiline.key_content: log, buffer: off}", True),
    ],
)
def test_what_hands_records_out_elsewhere_cannot_be_a_processor_of_an_output(
    builder: Builder, unit: str, is_possible: bool
) -> None:
    text = f"pipeline:\n  outputs: [{{name: 'null', match: '*', processors: {{logs: [{unit}]}}}}]\n"

    if is_possible:
        assert len(builder.build(text).processors()) == 1
    else:
        with pytest.raises(PipelineError, match="cannot be a processor of an output"):
            builder.build(text)


def test_a_pipeline_knows_the_folder_of_its_configuration(builder: Builder, tmp_path: Path) -> None:
    assert builder.with_processors().folder == str(tmp_path)


def test_processors_are_among_all_instances(builder: Builder) -> None:
    pipeline = builder.with_processors("{name: modify, add: k v}")

    assert [instance.name for instance in pipeline.instances()] == ["null.0", "dummy.0/modify.0", "dummy.0", "dummy.1"]
    try_instances(pipeline)


async def test_processors_act_on_the_batches_of_their_input_before_the_filters(builder: Builder) -> None:
    filters = "  filters:\n    - {name: modify, match: '*', add: k from_filter}\n"
    processors = "processors: {logs: [{name: modify, add: k from_processor}]}"
    assembly, metrics = assembled(
        builder.build(
            f"pipeline:\n  inputs:\n    - {{name: dummy, {processors}}}\n    - {{name: dummy}}\n{filters}{OUTPUT}"
        )
    )
    batches = [batch_of("one"), batch_of("two")]

    for running, batch in zip(assembly.inputs, batches, strict=True):
        await running.intake.emit(batch)

    assert [record.body for batch in batches for record in batch] == [
        {"log": "one", "k": "from_processor"},
        {"log": "two", "k": "from_filter"},
    ]
    passed = metrics.counter("filter_records_total", name="dummy.0/modify.0")
    assert passed.value == 1


def test_a_condition_is_read_with_its_variables(builder: Builder) -> None:
    rule = "{field: $level, op: eq, value: '${LEVEL:-error}'}"

    pipeline = builder.with_processors(f"{{name: grep, exclude: log x, condition: {{rules: [{rule}]}}}}")

    (processor,) = pipeline.inputs[0].processors
    assert processor.condition is not None
    assert processor.condition.holds(Record(0, {"level": "error"}))
    assert not processor.condition.holds(Record(0, {"level": "info"}))


def test_a_filter_may_have_a_condition_too(builder: Builder) -> None:
    condition = "condition: {op: or, rules: [{field: a, op: in, value: [x, z]}, {field: b, op: gt, value: 5}]}"
    pipeline = builder.build(
        "pipeline:\n  inputs: [{name: dummy}]\n"
        f"  filters: [{{name: modify, match: '*', add: k v, {condition}}}]\n{OUTPUT}"
    )

    condition_of_filter = pipeline.filters[0].condition
    assert condition_of_filter is not None
    assert [condition_of_filter.holds(Record(0, b)) for b in ({"a": "z"}, {"b": 6}, {"a": "y", "b": 5})] == [
        True,
        True,
        False,
    ]


def test_the_own_condition_of_modify_is_not_taken_for_another(builder: Builder) -> None:
    pipeline = builder.with_processors("{name: modify, add: k v, condition: [Key_exists log]}")

    assert pipeline.inputs[0].processors[0].condition is None
    assert len(pipeline.inputs[0].processors[0].options.condition) == 1


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("{op: xor, rules: [{field: a, op: eq, value: b}]}", "condition of grep: option 'op': 'xor' is not possible"),
        ("{op: and}", "condition of grep: it has no rules"),
        ("{rules: [{op: eq, value: b}]}", "condition of grep: option 'field' is required"),
        ("{rules: [{field: a, op: like, value: b}]}", "condition of grep: option 'op': 'like' is not possible"),
        ("{rules: [{field: a, op: eq}]}", "condition of grep: option 'value' is required"),
        ("{rules: [{field: a, op: eq, value: [b, c]}]}", "condition of grep: option 'value' is a list"),
        ("{rules: [{field: a, op: gt, value: b}]}", "condition of grep: 'b' is no number to compare with"),
        ("{rules: [{field: a, op: regex, value: '('}]}", "condition of grep: "),
        ("{rules: [{feld: a, field: a, op: eq, value: b}]}", "condition of grep: unknown option 'feld'"),
    ],
)
def test_a_mistake_in_a_condition_is_told(builder: Builder, condition: str, told: str) -> None:
    (message,) = builder.told(f"{{name: grep, exclude: log x, condition: {condition}}}")

    assert message.startswith(told)


@pytest.mark.parametrize(
    ("unit", "told"),
    [
        ("{name: grep, exclude: log x, condition: log}", "grep: this 'condition' has no effect"),
        (
            "{name: rewrite_tag, rule: '$a ^b c true', condition: {rules: [{field: a, op: eq, value: b}]}}",
            "rewrite_tag: 'condition' is ignored",
        ),
    ],
)
def test_a_condition_without_effect_is_remarked(builder: Builder, unit: str, told: str) -> None:
    builder.with_processors(unit)

    assert [w.split(": ", 1)[1][: len(told)] for w in builder.warnings] == [told]


async def test_processors_act_on_what_their_output_alone_is_given(builder: Builder) -> None:
    units = "processors: {logs: [{name: grep, exclude: log x}]}"
    outputs = f"[{{name: 'null', match: '*', alias: few, {units}}}, {{name: 'null', match: '*', alias: all}}]"
    assembly, _ = assembled(builder.build(f"pipeline:\n  inputs: [{{name: dummy}}]\n  outputs: {outputs}\n"))

    await assembly.inputs[0].intake.emit(batch_of("x", "y"))
    for dispatcher in assembly.dispatchers:
        dispatcher.begin_drain()
        await dispatcher.run()

    few, all_ = assembly.ledger.outputs()
    assert (few.delivered, few.dropped, few.is_balanced) == (1, {"filtered": 1}, True)
    assert (all_.delivered, all_.dropped, all_.is_balanced) == (2, {}, True)


async def test_an_engine_with_processors_starts_and_stops(builder: Builder) -> None:
    engine = Engine(builder.with_processors("{name: content_modifier, action: delete, key: x}"))
    engine.request_stop()

    assert await engine.run() == 0
