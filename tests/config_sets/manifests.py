"""The Kubernetes manifests of config/kubernetes as `kubectl apply -k` would put them together, as far as they use that.

What kustomize adds to names, and where it sets namespaces and images, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from .mounted import CONFIG

Document = dict[str, Any]

SETS = ("kubernetes/node", "kubernetes/events", "kubernetes/events-daemonset", "kubernetes/sidecar")
"""The folders with a workload each."""

WORKLOADS = ("DaemonSet", "Deployment")


class Built(msgspec.Struct):
    """The objects of a folder, and the files of its ConfigMaps by their names."""

    objects: list[Document]
    config_maps: dict[str, dict[str, Path]]

    @property
    def workload(self) -> Document:
        (found,) = (one for one in self.objects if one["kind"] in WORKLOADS)
        return found

    @property
    def pod(self) -> Document:
        spec: Document = self.workload["spec"]["template"]["spec"]
        return spec

    @property
    def shipper(self) -> Document:
        """The container that runs us until the pod ends."""
        every = [*self.pod.get("initContainers", ()), *self.pod["containers"]]
        (found,) = (one for one in every if one["image"] == "shipper" and "args" in one)
        container: Document = found
        return container

    def values(self) -> dict[str, dict[str, str]]:
        """What ConfigMaps hold in the manifests themselves."""
        return {one["metadata"]["name"]: one["data"] for one in self.objects if one["kind"] == "ConfigMap"}

    def environment(self) -> dict[str, str]:
        """The variables of our container; what a node would tell is made up."""
        told = {}
        for variable in self.shipper.get("env", ()):
            source = variable.get("valueFrom", {})
            if (key := source.get("configMapKeyRef")) is not None:
                told[variable["name"]] = self.values()[key["name"]][key["key"]]
            else:
                told[variable["name"]] = variable.get("value", "made-up")
        return told

    def mount(self, folder: Path) -> Path:
        """Write the ConfigMap of our container to a folder; gives the configuration that its arguments name."""
        (volume,) = (one for one in self.pod["volumes"] if one["name"] == "config")
        (place,) = (one["mountPath"] for one in self.shipper["volumeMounts"] if one["name"] == "config")
        folder.mkdir()
        for name, path in self.config_maps[volume["configMap"]["name"]].items():
            (folder / name).write_text(path.read_text())
        flag, configuration = self.shipper["args"]
        assert (flag, str(Path(configuration).parent)) == ("-c", place)
        return folder / Path(configuration).name


def built(name: str) -> Built:
    """Put a folder of config/ together, with all that it builds upon."""
    result = Built([], {})
    _add((CONFIG / name).resolve(), result)
    return result


def _add(folder: Path, result: Built) -> None:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    for resource in kustomization.get("resources", ()):
        path = (folder / resource).resolve()
        if path.is_dir():
            _add(path, result)
        else:
            result.objects += documents(path)
    for generated in kustomization.get("configMapGenerator", ()):
        files = result.config_maps.setdefault(generated["name"], {})
        assert bool(files) is (generated.get("behavior") == "merge")
        files.update({name: folder / name for name in generated["files"]})


def documents(path: Path) -> Iterator[Document]:
    """The objects of a file."""
    yield from yaml.safe_load_all(path.read_text())
