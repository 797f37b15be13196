"""Questions to the ECS agent of an instance, and what templates may use of its answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ...clock import Clock
from ...log import Log
from ...net.http import HttpClient
from ...net.settings import HttpSettings, NoAnswer

TIMEOUT_S = 1.0
"""Longest wait for a connection; for a whole answer it is twice that."""

ID_LENGTH = 12
"""Characters of a container's id by which the agent is asked."""

_LONGEST_ANSWER = 1_000_000
_CONTAINER_ID = re.compile(f"[0-9a-f]{{{ID_LENGTH}}}")

Variables = dict[str, str]


class Failed(Exception):
    """There is no answer, or none that tells anything. `is_away` says that nobody is there to ask."""

    def __init__(self, reason: str, *, is_away: bool = False) -> None:
        super().__init__(reason)
        self.is_away = is_away


class Agent:
    """The introspection endpoint of the agent."""

    def __init__(self, host: str, port: int, clock: Clock, log: Log) -> None:
        settings = HttpSettings(
            host=host,
            port=port,
            connect_timeout=TIMEOUT_S,
            io_timeout=2 * TIMEOUT_S,
            keepalive=False,
            use_proxy=False,
            answer_limit=_LONGEST_ANSWER,
        )
        self._client = HttpClient(settings, clock, log)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def cluster(self) -> Variables:
        """What is the same for all containers of the instance; raises `Failed` after two seconds at most."""
        told = await self._told("/v1/metadata")
        instance = _text(told, "ContainerInstanceArn")
        return {
            "ClusterName": _text(told, "Cluster"),
            "ContainerInstanceArn": instance,
            "ContainerInstanceID": instance.rpartition("/")[2],
            "ECSAgentVersion": _text(told, "Version"),
        }

    async def task(self, container: str) -> dict[str, Variables]:
        """What is known of each container of the task that this one belongs to, by the begin of its id.

        Raises `Failed` after two seconds at most, also if the answer does not name the container.
        """
        told = await self._told(f"/v1/tasks?dockerid={container}")
        arn = _text(told, "Arn")
        task = {
            "TaskARN": arn,
            "TaskID": arn.rpartition("/")[2],
            "TaskDefinitionFamily": _text(told, "Family"),
            "TaskDefinitionVersion": _text(told, "Version"),
        }
        containers = told.get("Containers")
        found = {}
        for one in containers if isinstance(containers, list) else []:
            if isinstance(one, dict):
                names = {
                    "ContainerID": _text(one, "DockerId"),
                    "DockerContainerName": _text(one, "DockerName"),
                    "ECSContainerName": _text(one, "Name"),
                }
                found[names["ContainerID"][:ID_LENGTH]] = task | names
        if container not in found:
            raise Failed("the task does not name the container")
        return found

    async def _told(self, path: str) -> Mapping[str, Any]:
        try:
            answer = await self._client.request("GET", path, {})
        except NoAnswer as error:
            raise Failed(error.reason, is_away=True) from error
        if answer.status != 200:
            raise Failed(f"{path} is answered with status {answer.status}")
        try:
            told = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Failed(f"the answer to {path} is not JSON") from error
        if not isinstance(told, dict):
            raise Failed(f"the answer to {path} is no map")
        return told


def container_in(tag: str, prefix: str) -> str | None:
    """The begin of the container's id that a tag has behind the prefix; None if there is none."""
    found = _CONTAINER_ID.match(tag, len(prefix)) if tag.startswith(prefix) else None
    return found[0] if found else None


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    if not isinstance(value, str):
        raise Failed(f"the answer has no {key}")
    return value
