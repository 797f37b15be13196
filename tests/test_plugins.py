"""Finding plugins by the name in a configuration."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shipper.outputs.null import NullOutput
from shipper.plugins import KINDS, PluginKind, class_name, find_plugin, plugin_names


@pytest.mark.parametrize("kind", KINDS)
def test_every_listed_plugin_is_found_and_declares_options(kind: PluginKind) -> None:
    found = {name: find_plugin(kind, name) for name in plugin_names(kind)}

    assert found
    for name, plugin in found.items():
        assert plugin is not None, name
        assert plugin.Options.__name__.endswith("Options"), name


def test_case_of_the_name_does_not_matter() -> None:
    assert find_plugin("output", "NULL") is NullOutput


def test_folder_and_module_are_both_plugins() -> None:
    assert {"null", "cloudwatch_logs"} <= set(plugin_names("output"))


@pytest.mark.parametrize(
    "name", ["", "nope", "base", "__init__", "../inputs/dummy", "record_format", "a.b", "dummy # c"]
)
def test_other_names_find_nothing(name: str) -> None:
    assert find_plugin("output", name) is None


def test_shared_modules_are_not_listed() -> None:
    assert not {"base", "record_format"} & set(plugin_names("output"))


def test_class_is_named_after_the_plugin() -> None:
    assert class_name("output", "Cloudwatch_Logs") == "CloudwatchLogsOutput"


def test_only_the_plugin_asked_for_is_imported() -> None:
    code = (
        "import sys; from shipper.plugins import find_plugin, plugin_names; plugin_names('output'); "
        "find_plugin('output', 'null'); print(*[m for m in sys.modules if m.startswith('shipper.outputs.')])"
    )

    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()

    assert "shipper.outputs.null" in loaded
    assert "shipper.outputs.stdout" not in loaded
    assert not [module for module in loaded if "cloudwatch" in module]
