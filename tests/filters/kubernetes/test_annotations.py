"""fluentbit.io annotations: parsers and exclusion, by stream and container."""

from __future__ import annotations

import pytest

from shipper.filters.kubernetes.annotations import AnnotationReader, Wishes

from .harness import parsers


def read(
    annotations: dict[str, str], container: str = "c1", *, may_parse: bool = True, may_exclude: bool = True
) -> tuple[Wishes, list[str]]:
    told: list[str] = []
    reader = AnnotationReader(
        parsers(), may_parse=may_parse, may_exclude=may_exclude, remark=lambda message, annotation: told.append(message)
    )
    return reader.read({f"fluentbit.io/{key}": value for key, value in annotations.items()}, container), told


def parser_of(annotations: dict[str, str], stream: object, container: str = "c1") -> str | None:
    parser = read(annotations, container)[0].parser_of(stream)
    return parser.name if parser else None


@pytest.mark.parametrize(
    ("annotations", "stream", "container", "expected"),
    [
        ({"parser": "j"}, "stdout", "c1", "j"),
        ({"parser": "j"}, "stderr", "c1", "j"),
        ({"parser": "j"}, None, "c1", None),
        ({"parser": "j"}, "other", "c1", None),
        ({"parser_stdout": "j"}, "stderr", "c1", None),
        ({"parser_stdout": "j"}, "stdout", "c1", "j"),
        ({"parser-c1": "words", "parser": "j"}, "stdout", "c1", "words"),
        ({"parser": "j", "parser-c1": "words"}, "stdout", "c1", "words"),
        ({"parser": "j", "parser-c1": "words"}, "stdout", "c2", "j"),
        ({"parser": "j", "parser_stdout": "words"}, "stdout", "c1", "j"),
        ({"parser_stderr-c1": "words"}, "stderr", "c1", "words"),
        ({"parser": "unknown"}, "stdout", "c1", None),
    ],
)
def test_parsers(annotations: dict[str, str], stream: object, container: str, expected: str | None) -> None:
    assert parser_of(annotations, stream, container) == expected


BY_CONTAINER = {
    "exclude": "true",
    "exclude_stderr-c2": "false",
    "exclude_stdout-c3": "false",
    "exclude-c4": "false",
}
BY_STREAM = {
    "exclude_stdout": "true",
    "exclude_stderr-c1": "true",
    "exclude_stdout-c3": "false",
    "exclude_stderr-c3": "true",
    "exclude_stdout-c4": "false",
}


@pytest.mark.parametrize("annotations", [BY_CONTAINER, BY_STREAM])
@pytest.mark.parametrize(
    ("container", "out", "err"), [("c1", True, True), ("c2", True, False), ("c3", False, True), ("c4", False, False)]
)
def test_exclusion_by_container_and_stream(annotations: dict[str, str], container: str, out: bool, err: bool) -> None:
    wishes, _ = read(annotations, container)

    assert (wishes.excludes("stdout"), wishes.excludes("stderr")) == (out, err)
    assert wishes.excludes(None) is (out and err)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("On", True), ("yes", True), ("false", False), ("neither", False), ("", False)],
)
def test_only_six_words_exclude(value: str, expected: bool) -> None:
    assert read({"exclude": value})[0].excludes("stdout") is expected


@pytest.mark.parametrize(
    "key",
    ["exclude_", "exclude_invalid", "exclude-", "exclude_stdout-", "exclude+", "parsers", "other", "parser_stdout_x"],
)
def test_annotations_that_are_not_understood_are_told_and_ignored(key: str) -> None:
    wishes, told = read({key: "true"})

    assert wishes == Wishes()
    assert len(told) == 1


def test_annotations_that_are_not_allowed_are_told_once_for_a_pod() -> None:
    wishes, told = read({"parser": "j", "parser_stdout": "j", "exclude": "true"}, may_parse=False, may_exclude=False)

    assert wishes == Wishes()
    assert len(told) == 2
