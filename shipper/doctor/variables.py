"""The variables that the containers of a manifest give to the configuration.

What only the cluster knows, such as the name of a node or a secret, gets a made-up value. A ConfigMap is known if one
of the files has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .containers import running
from .findings import Finding
from .manifests import Manifests, mapping, mappings

_MADE_UP = "made-up"
_MADE_UP_NUMBER = "1"


def variables_of(manifests: Manifests, process: Mapping[str, str], findings: list[Finding]) -> dict[str, str]:
    """The variables of the process with those of the containers that run us, which win over them.

    For what only the cluster knows a variable of the process is taken if there is one. A ConfigMap that is missing, or
    its key, is added to `findings` then.
    """
    result = dict(process)
    for pod, ours in zip(manifests.pods, running(manifests.pods), strict=True):
        for container in ours:
            reading = _Reading(manifests.config_maps, process)
            result.update(reading.all_of(container.spec))
            findings += reading.findings(f"{pod.place}, container {container.name}")
    return result


class _Reading:
    """Reads the variables of one container, and notes what of them no file has: names by ConfigMap, or by its key."""

    def __init__(self, config_maps: Mapping[str, Mapping[str, str]], process: Mapping[str, str]) -> None:
        self._config_maps = config_maps
        self._process = process
        self._without_map: dict[str, list[str]] = {}
        self._without_key: list[tuple[str, str, str]] = []

    def all_of(self, spec: dict[str, Any]) -> dict[str, str]:
        """The values by name, as far as they are known."""
        found: dict[str, str] = {}
        for source in mappings(spec.get("envFrom")):
            prefix, config_map = str(source.get("prefix") or ""), str(mapping(source.get("configMapRef")).get("name"))
            if "configMapRef" in source and config_map not in self._config_maps:
                self._without_map.setdefault(config_map, [])
            found |= {f"{prefix}{key}": text for key, text in self._config_maps.get(config_map, {}).items()}
        for variable in mappings(spec.get("env")):
            name = str(variable.get("name"))
            if (value := self._value(name, variable)) is not None:
                found[name] = value
        return found

    def _value(self, name: str, variable: dict[str, Any]) -> str | None:
        source = mapping(variable.get("valueFrom"))
        if not source:
            value = variable.get("value")
            return "" if value is None else str(value)
        if "configMapKeyRef" not in source:
            made_up = _MADE_UP_NUMBER if "resourceFieldRef" in source else _MADE_UP
            return self._process.get(name, made_up)
        reference = mapping(source["configMapKeyRef"])
        config_map, key = str(reference.get("name")), str(reference.get("key"))
        if (texts := self._config_maps.get(config_map)) is None:
            if name not in self._process:
                self._without_map.setdefault(config_map, []).append(name)
        elif key not in texts and reference.get("optional") is not True:
            self._without_key.append((config_map, key, name))
        return texts.get(key) if texts is not None else None

    def findings(self, place: str) -> Iterator[Finding]:
        """What the configuration has to do without here."""
        for config_map, names in self._without_map.items():
            told = f"{', '.join(names) or 'variables'} of the ConfigMap '{config_map}', which none of the files has"
            yield Finding(place, f"unknown: {told}", f"name its file too: kubectl get configmap {config_map} -o yaml")
        for config_map, key, name in self._without_key:
            message = f"the ConfigMap '{config_map}' has no key '{key}' for {name}"
            yield Finding(place, message, "the container does not start without it")
