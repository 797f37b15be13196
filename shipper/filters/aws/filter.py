"""Add facts about the EC2 instance to every record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

from ...config.options import opt
from ...context import Context
from ...errors import OptionError
from ...record import RecordBatch
from ..base import Filter, FilterOptions
from ..patience import Errands
from .facts import ORDER, Facts
from .imds import Imds


class ImdsVersion(str):
    """v1 or v2."""

    shown_as = "v1 | v2"

    @classmethod
    def parse(cls, text: str) -> ImdsVersion:
        word = text.strip().lower()
        if word not in ("v1", "v2"):
            raise ValueError(f"{text!r} is not possible; write v1 or v2")
        return cls(word)


class AwsOptions(FilterOptions):
    """Options of the aws filter."""

    az: Annotated[bool, opt("Add the availability zone.")] = True
    ec2_instance_id: Annotated[bool, opt("Add the id of the instance.")] = True
    ec2_instance_type: Annotated[bool, opt("Add the type of the instance.")] = False
    private_ip: Annotated[bool, opt("Add the private address.")] = False
    vpc_id: Annotated[bool, opt("Add the id of the VPC.")] = False
    ami_id: Annotated[bool, opt("Add the id of the image.")] = False
    account_id: Annotated[bool, opt("Add the id of the account.")] = False
    hostname: Annotated[bool, opt("Add the host name.")] = False
    tags_enabled: Annotated[bool, opt("Add the tags of the instance.")] = False
    tags_include: Annotated[str | None, opt("Add only these tags.", example="Name,team")] = None
    tags_exclude: Annotated[str | None, opt("Add all tags but these.", example="secret")] = None
    imds_version: Annotated[ImdsVersion, opt("Version of the metadata service; v2 uses tokens.")] = ImdsVersion("v2")
    retry_interval_s: Annotated[int, opt("Seconds until what could not be had is asked for again.")] = 300
    enable_entity: Annotated[bool, opt("Add the fields that CloudWatch Logs makes an entity of.")] = False

    def __post_init__(self) -> None:
        if self.tags_enabled and self.tags_include is not None and self.tags_exclude is not None:
            raise OptionError("tags_exclude", "cannot be used together with tags_include", "use one of the two")

    def shown(self) -> list[str]:
        """The pieces that records show."""
        return [piece for piece in ORDER if getattr(self, "tags_enabled" if piece == "tags" else piece)]

    def wants_tag(self, name: str) -> bool:
        """Whether a tag of this name is to be added."""
        if self.tags_include is not None:
            return name in self.tags_include.split(",")
        return self.tags_exclude is None or name not in self.tags_exclude.split(",")


LONGEST_WAIT_S = 5.0
"""How long the start, or a record, waits for facts; what comes later is added to the records that come after it."""


class AwsFilter(Filter):
    """Appends what is known of the instance; what is not known now is asked for again from time to time.

    `_fields` was made of the first `_shown_facts` facts.
    """

    Options = AwsOptions

    def __init__(self, options: AwsOptions, context: Context, variables: Mapping[str, str] = os.environ) -> None:
        self._shown = options.shown()
        self._has_entity = options.enable_entity
        has_tokens = options.imds_version == "v2"
        self._imds = Imds(has_tokens=has_tokens, clock=context.clock, log=context.log, variables=variables)
        of_entity = ["ec2_instance_id", "account_id"] if options.enable_entity else []
        wanted = list(dict.fromkeys([*self._shown, *of_entity]))
        retry_s = max(1, options.retry_interval_s)
        self._facts = Facts(wanted, options.wants_tag, retry_s, self._imds, context.clock, context.log)
        self._errands = Errands(LONGEST_WAIT_S, context.clock)
        self._fields: dict[str, str] = {}
        self._shown_facts = 0

    async def open(self) -> None:
        """Ask for everything; waits for five seconds at most, for one if there is no metadata service."""
        await self._imds.open()
        await self._learn()

    async def prepare(self, batch: RecordBatch) -> None:
        """Ask again for what is missing, if it is time to; waits for five seconds a minute at most."""
        await self._learn()

    def apply(self, batch: RecordBatch) -> RecordBatch | None:
        fields = self._fields
        for record in batch.records:
            body = record.body
            for key in fields.keys() & body.keys():
                del body[key]
            body.update(fields)
            record.metadata = None
        return batch

    async def close(self) -> None:
        await self._errands.close()
        await self._imds.close()

    async def _learn(self) -> None:
        if self._facts.is_due():
            await self._errands.run("facts", self._facts.learn)
        known, fields = self._facts.known, dict[str, str]()
        if len(known) == self._shown_facts:
            return
        for piece in self._shown:
            fields |= known.get(piece, {})
        if self._has_entity:
            for piece in ("ec2_instance_id", "account_id"):
                if piece in known:
                    fields[f"aws_entity_{piece}"] = known[piece][piece]
        self._fields, self._shown_facts = fields, len(known)


__all__ = ["AwsFilter", "AwsOptions"]
