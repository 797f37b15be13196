"""Variables: where they come from and how they are replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.environment import Environment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${A}", "VAL"),
        ("x${A}y${A}z", "xVALyVALz"),
        ("${NOPE}", ""),
        ("a${NOPE}b", "ab"),
        ("${EMPTY}", ""),
        ("${NOPE:-def}", "def"),
        ("${EMPTY:-def}", "def"),
        ("${A:-def}", "VAL"),
        ("${NOPE:-}", ""),
        ("${NOPE:-a:-b}", "a:-b"),
        ("${NOPE:-${A}}", "${A}"),
        ("${}", "${}"),
        ("${A", "${A"),
        ("$A %{A} $(A)", "$A %{A} $(A)"),
        ("${U}", "${A}x"),
        ('{"a":"${A}"}', '{"a":"VAL"}'),
        ('{"a":"}${A}"}', '{"a":"}${A}"}'),
        ("a${A}.%{B}x${A}z", "aVAL.%{B}x${A}z"),
        ("${A}.tail${B", "VAL.tail${B"),
        ("${A}.${}", "VAL.${}"),
    ],
)
def test_a_text_is_expanded_as_fluent_bit_does_without_losing_any_of_it(text: str, expected: str) -> None:
    environment = Environment({"A": "VAL", "EMPTY": "", "U": "${A}x"})

    assert environment.expand(text).text == expected


def test_variables_without_value_are_named_once_each_unless_they_have_a_default() -> None:
    expanded = Environment({"EMPTY": ""}).expand("a.${NOPE}.${EMPTY}.${NOPE}.b.${X:-def}")

    assert expanded.text == "a....b.def"
    assert expanded.unset == ("NOPE", "EMPTY")


def test_what_the_configuration_sets_wins_over_the_process_and_the_last_setting_wins() -> None:
    environment = Environment({"T": "proc"})
    environment.set("T", "first")
    environment.set("T", "x=y")

    assert environment.expand("${T}").text == "x=y"


def test_a_variable_set_to_nothing_hides_the_one_of_the_process() -> None:
    environment = Environment({"T": "proc"})
    environment.set("T", "")

    assert environment.expand("${T}").unset == ("T",)


def test_hostname_is_preset_unless_the_process_has_one() -> None:
    assert Environment({}, host_name="node-1").expand("${HOSTNAME}").text == "node-1"
    assert Environment({"HOSTNAME": "pod"}, host_name="node-1").expand("${HOSTNAME}").text == "pod"
    assert Environment({}).expand("${HOSTNAME}").text


def test_a_value_from_a_file_loses_one_final_newline(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a\nb\n\n")
    environment = Environment({})
    environment.set("S", f"file://{tmp_path}/secret")

    assert environment.expand("${S}").text == "a\nb\n"


@pytest.mark.parametrize(
    ("content", "why"), [(None, "cannot be read"), (b"", "empty"), (b"\n", "empty"), (b"\xff", "not UTF-8")]
)
def test_a_value_from_a_file_that_gives_nothing_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)

    with pytest.raises(ValueError, match=why):
        Environment({}).set("S", f"file://{tmp_path}/secret")


def test_the_process_environment_may_not_name_files() -> None:
    assert Environment({"S": "file:///etc/hostname"}).expand("${S}").text == "file:///etc/hostname"


def test_the_values_of_variables_are_not_shown() -> None:
    environment = Environment({"P": "password1"}, host_name="node-1")
    environment.set("S", "password2")

    assert repr(environment) == "Environment(2 of the process, set: ['S'])"
