"""What AWS makes of each output: whose credentials are used, until when, and what they allow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from ..aws.settings import AwsError, AwsSettings, NoAnswer, NoCredentials
from ..errors import OptionError
from ..outputs.aws_options import AwsOutputOptions
from ..pipeline import Instance, Pipeline
from .findings import Finding
from .trials import Trial, try_logs, try_s3, try_stream, words_of

_CONNECT_TIMEOUT_S, _CALL_TIMEOUT_S = 5.0, 15.0
"""Nobody waits longer for an answer, even where the configuration would let an output wait."""

_PROVIDERS: Mapping[str, str] = {
    "env": "environment variables",
    "assume-role": "role of a profile",
    "assume-role-with-web-identity": "token file AWS_WEB_IDENTITY_TOKEN_FILE, as with IRSA",
    "shared-credentials-file": "credentials file",
    "config-file": "configuration file of AWS",
    "custom-process": "credential_process of a profile",
    "container-role": "endpoint for containers: EKS Pod Identity or the role of an ECS task",
    "iam-role": "instance metadata: the role of the EC2 instance",
    "sts-assume-role": "role_arn of the output",
}
"""What the names of botocore's providers mean."""


class Report(msgspec.Struct, frozen=True):
    """What was found out about one output, and what of it is in the way."""

    title: str
    lines: tuple[str, ...]
    findings: tuple[Finding, ...]


async def check_outputs(pipeline: Pipeline) -> list[Report]:
    """Ask AWS about every output that sends to it, all at the same time; waits for a few bounded calls."""
    asked = [instance for instance in pipeline.outputs if _sends_to_aws(instance.options)]
    return await asyncio.gather(*(_check(instance) for instance in asked))


def _sends_to_aws(options: Any) -> bool:
    return isinstance(options, AwsOutputOptions) or bool(getattr(options, "aws_auth", False))


async def _check(instance: Instance) -> Report:
    checkup = _Checkup(instance)
    try:
        await checkup.run()
    except OptionError as error:
        problem = instance.problem(error)
        checkup.warn(problem.message, problem.remedy)
    return checkup.report()


class _Checkup:
    """Collects what is told about one output."""

    def __init__(self, instance: Instance) -> None:
        settings: AwsSettings = instance.options.aws_settings()
        self._settings = msgspec.structs.replace(
            settings,
            connect_timeout=min(settings.connect_timeout, _CONNECT_TIMEOUT_S),
            io_timeout=min(settings.io_timeout, _CALL_TIMEOUT_S),
        )
        self._instance = instance
        self._place = f"{instance.section.origin}: output {instance.alias}"
        self._lines: list[str] = []
        self._findings: list[Finding] = []

    def report(self) -> Report:
        return Report(self._place, tuple(self._lines), tuple(self._findings))

    def warn(self, message: str, remedy: str) -> None:
        self._findings.append(Finding(self._place, message, remedy))

    async def run(self) -> None:
        """Find out who we are, then what we may do. Raises `OptionError` for options that are no use here."""
        if isinstance(self._instance.options, AwsOutputOptions):
            self._instance.options.check_files()
        if await self._identify():
            for trial in await self._tried():
                self._lines.append(str(trial))
                if trial.remedy:
                    self.warn(f"{trial.action} on {trial.target} {trial.outcome}: {trial.said}", trial.remedy)

    async def _identify(self) -> bool:
        """Whether there are credentials."""
        # Only now: aiobotocore is large, and checking manifests does without it.
        from ..aws.identity import CallerIdentity

        identity = CallerIdentity(self._settings)
        try:
            await identity.find()
        except NoCredentials as error:
            origin = identity.origin()
            by = f" from {_named(origin.providers[0])}" if origin else ""
            self._lines.append(f"credentials: none{by}")
            self.warn(f"there are no credentials{by}: {words_of(error)}", "see that one provider has some")
            return False
        if (origin := identity.origin()) is not None:
            self._lines.append(f"credentials: {', then '.join(map(_named, origin.providers))}")
            expires = origin.expires.isoformat(timespec="seconds") if origin.expires else "never"
            self._lines.append(f"expiry:      {expires}")
        try:
            principal = await identity.principal()
        except (AwsError, NoAnswer, NoCredentials) as error:
            self._lines.append("principal:   unknown")
            remedy = "see that STS can be reached, and that the credentials are valid; sts_endpoint names another one"
            self.warn(f"sts:GetCallerIdentity failed: {words_of(error)}", remedy)
        else:
            self._lines.append(f"principal:   {principal.arn} (account {principal.account})")
        return True

    async def _tried(self) -> list[Trial]:
        plugin, options = self._instance.plugin, self._instance.options
        if plugin in ("cloudwatch_logs", "cloudwatch"):
            return await self._json_trials("logs")
        if plugin == "s3":
            return await self._s3_trials()
        if plugin == "kinesis_streams":
            return await self._json_trials("kinesis")
        if plugin == "kinesis_firehose":
            return await self._json_trials("firehose")
        service = getattr(options, "aws_service", None) or getattr(options, "aws_service_name", None)
        return [Trial("requests", f"service {service}", "not tried", "that would send records")]

    async def _json_trials(self, service: str) -> list[Trial]:
        from ..aws.client import AwsClient

        options = self._instance.options
        client = AwsClient(service, self._settings)
        try:
            await client.open()
            match service:
                case "kinesis":
                    return await try_stream(client, "kinesis", options.stream)
                case "firehose":
                    return await try_stream(client, "firehose", options.delivery_stream)
            return await try_logs(client, options)
        finally:
            await client.close()

    async def _s3_trials(self) -> list[Trial]:
        from ..aws.rest import RestClient

        options = self._instance.options
        client = RestClient("s3", options.base_url, self._settings)
        try:
            await client.open()
            return await try_s3(client, options)
        finally:
            await client.close()


def _named(provider: str) -> str:
    meaning = _PROVIDERS.get(provider)
    return f"{provider} ({meaning})" if meaning else provider
