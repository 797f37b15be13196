"""Names of pods and containers in tags and journal fields."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.filters.kubernetes.names import Names, TagReader, names_in_journal
from shipper.parsers.onigmo import Regex

from .harness import ID

FILE = f"web-1_default_app-{ID}.log"


def read(
    tag: str, prefix: str = "kube.var.log.containers.", regex: str | None = None
) -> tuple[Names | None, list[str]]:
    told: list[str] = []
    reader = TagReader(prefix, Regex(regex) if regex else None, lambda message, tag: told.append(message))
    reader.read(tag)
    return reader.read(tag), told


@pytest.mark.parametrize(
    ("tag", "prefix", "pod"),
    [
        (f"kube.var.log.containers.{FILE}", "kube.var.log.containers.", "web-1"),
        (f"application.var.log.containers.{FILE}", "application.var.log.containers.", "web-1"),
        (f"application.var.log.containers.{FILE}", "kube.var.log.containers.", "ainers.web-1"),
        (f"xxxx.var.log.containers.{FILE}", "kube.var.log.containers.", "web-1"),
    ],
)
def test_only_the_length_of_the_prefix_counts(tag: str, prefix: str, pod: str) -> None:
    assert read(tag, prefix)[0] == Names(pod, "default", "app", ID)


@pytest.mark.parametrize("tag", ["kube.var.log.containers.x", "kube", "kube.var.log.containers.web_1_app.log"])
def test_a_tag_without_names_is_told_once(tag: str) -> None:
    names, told = read(tag)

    assert names is None
    assert len(told) == 1


PLAIN = re.compile(
    r"(?P<pod_name>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*)"
    r"_(?P<namespace_name>[^_]+)_(?P<container_name>.+)-(?P<docker_id>[a-z0-9]{64})\.log$"
)
"""The expression as Fluent Bit has it; it takes long over long tags."""


@given(
    st.lists(st.sampled_from(["a", "b-c", "-", ".", "_", "_", "X", "0"]), max_size=14), st.sampled_from(["-", "", "x-"])
)
@settings(deadline=None)
def test_the_names_are_those_that_fluent_bit_finds(parts: list[str], end: str) -> None:
    rest = f"{''.join(parts)}{end}{ID}.log"
    found = PLAIN.search(rest)

    assert read(f"p.{rest}", "p.")[0] == (Names(**found.groupdict()) if found else None)


@pytest.mark.parametrize("piece", ["a", "a_b", "_", "a-", "a.", "-a.", "a_.", "a\n", "a__", f"{ID}-"])
@pytest.mark.parametrize("end", ["", f"-{ID}.log", f"_-{ID}.log"])
def test_a_tag_may_be_as_long_as_it_likes(piece: str, end: str) -> None:
    """If any character were looked at again for every other one, this would not end in a lifetime of a test."""
    reader = TagReader("p.", None, lambda message, tag: None)

    names = reader.read(f"p.{piece * (1_000_000 // len(piece))}{end}")

    assert names is None or names.docker_id == ID


def test_another_expression_may_give_any_of_the_names() -> None:
    names, _ = read("pods.data_db-0_u-77", "pods.", "^(?<namespace_name>[^_]+)_(?<pod_name>[^_]+)_(?<pod_uid>.+)$")

    assert names == Names("db-0", "data", pod_uid="u-77")


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("k8s_app.4f2a_web-1_default_u-9_0", Names("web-1", "default", "app", "", "4f2a", "u-9")),
        ("k8s_app_web-1_default_u-9_0", Names("web-1", "default", "app", "", "", "u-9")),
        ("k8s_app_web-1_default_0", None),
        ("kubelet", None),
        (None, None),
        (5, None),
    ],
)
def test_journal_fields(field: object, expected: Names | None) -> None:
    assert names_in_journal(field) == expected


@pytest.mark.parametrize(
    ("pod", "namespace", "is_pod"),
    [("web-1", "default", True), ("a.b", "x", True), ("../x", "x", False), ("a/b", "x", False), ("", "x", False),
     ("a?b", "x", False), ("..", "x", False), ("a", "X", False), ("a\n", "x", False)],
)  # fmt: skip
def test_only_names_of_objects_become_paths(pod: str, namespace: str, is_pod: bool) -> None:
    assert Names(pod, namespace).is_pod is is_pod
