"""Calls that tell whether an output may do what it needs, made so that they change nothing.

A service looks first whether a call is allowed, and then whether it makes sense. So each action is tried with something
that it cannot be done with: a log event that is far too old to be taken, a part of an upload that does not exist, the
creation of what is there. What the answer complains about tells whether the action is allowed. Where there is no such
call, the action is not tried, and that is told.
"""

from __future__ import annotations

import json
import re
from typing import Literal, Protocol
from urllib.parse import quote

import msgspec

from ..aws.messages import RestAnswer
from ..aws.settings import Answer, AwsError, NoAnswer, NoCredentials, is_denied
from ..outputs.cloudwatch_logs.cloudwatch import CloudwatchOptions
from ..outputs.cloudwatch_logs.events import stream_name
from ..outputs.cloudwatch_logs.output import CloudwatchLogsOptions
from ..outputs.s3.keys import encoded_path
from ..outputs.s3.options import S3Options

Outcome = Literal["allowed", "denied", "not tried", "failed"]

_TRIAL = "shipper-doctor"
_LONGEST_WORDS = 300
_ACTION_DENIED = re.compile("AccessDenied|NotAuthorized|UnauthorizedOperation", re.IGNORECASE)


class JsonApi(Protocol):
    """What makes calls to services that speak JSON; `aws.client.AwsClient` does."""

    async def call(self, operation: str, body: bytes) -> Answer: ...


class RestApi(Protocol):
    """What makes calls to S3; `aws.rest.RestClient` does."""

    async def call(self, method: str, path: str, *, body: bytes = ...) -> RestAnswer: ...


class Trial(msgspec.Struct, frozen=True):
    """What became of one action on one thing; with a `remedy` it is in the way of delivery."""

    action: str
    target: str
    outcome: Outcome
    said: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:<10}{self.action} on {self.target}{f': {self.said}' if self.said else ''}"


async def try_logs(api: JsonApi, options: CloudwatchLogsOptions) -> list[Trial]:
    """Try what CloudWatch Logs is asked for; waits for up to three calls."""
    group = options.log_group_name
    stream = stream_name(options.log_stream_name or f"{options.log_stream_prefix}{_TRIAL}")
    event = {"timestamp": 1, "message": "shipper doctor: too old to be taken"}
    refusal = await _logs_call(api, "PutLogEvents", group, logStreamName=stream, logEvents=[event])
    target = f"log stream {stream} of log group {group}"
    put = _judged("logs:PutLogEvents", target, refusal, "ResourceNotFoundException")
    if put.outcome != "allowed":
        return [put]
    is_group_there = not _is_about_group(refusal)
    trials = [put, *await _group_trials(api, options, is_there=is_group_there)]
    if isinstance(options, CloudwatchOptions) and not options.auto_create_stream:
        return trials
    action = "logs:CreateLogStream"
    if is_group_there and refusal is not None:
        return [*trials, Trial(action, target, "not tried", "that would create it")]
    found = await _logs_call(api, "CreateLogStream", group, logStreamName=stream)
    expected = "ResourceAlreadyExistsException" if is_group_there else "ResourceNotFoundException"
    return [*trials, _judged(action, target, found, expected)]


async def _group_trials(api: JsonApi, options: CloudwatchLogsOptions, *, is_there: bool) -> list[Trial]:
    """What concerns the group as a whole; waits for one call if it is to be created and is there already."""
    action, target = "logs:CreateLogGroup", f"log group {options.log_group_name}"
    if not options.auto_create_group:
        remedy = "create it, or set auto_create_group on"
        return [] if is_there else [Trial(action, target, "not tried", "the log group does not exist", remedy)]
    trials = [Trial(action, target, "not tried", "that would create it")]
    if is_there:
        found = await _logs_call(api, "CreateLogGroup", options.log_group_name)
        trials = [_judged(action, target, found, "ResourceAlreadyExistsException")]
    if options.log_retention_days:
        trials.append(Trial("logs:PutRetentionPolicy", target, "not tried", "that would change the retention"))
    return trials


async def try_s3(api: RestApi, options: S3Options) -> list[Trial]:
    """Try what S3 is asked for; waits for up to four calls."""
    bucket = f"bucket {options.bucket}"
    key = re.split(r"[$%]", options.s3_key_format.lstrip("/"), maxsplit=1)[0] + _TRIAL
    path, of_key = f"/{encoded_path(key)}", f"{key} in {bucket}"
    head = _judged_head(bucket, options.region, await _s3_call(api, "HEAD", "/"))
    if head.outcome == "failed":
        return [head]
    part = await _s3_call(api, "PUT", f"{path}?partNumber=1&uploadId={_TRIAL}", b"shipper doctor")
    trials = [head, _judged("s3:PutObject", of_key, part, "NoSuchUpload")]
    if not options.puts_whole:
        abort = await _s3_call(api, "DELETE", f"{path}?uploadId={_TRIAL}")
        trials.append(_judged("s3:AbortMultipartUpload", of_key, abort, "NoSuchUpload"))
        uploads = await _s3_call(api, "GET", f"/?max-uploads=1&prefix={quote(key, safe='')}&uploads=")
        trials.append(_judged("s3:ListBucketMultipartUploads", bucket, uploads))
    if options.server_side_encryption == "aws:kms":
        said = "that would make a key"
        trials.append(Trial("kms:GenerateDataKey", options.sse_kms_key_id or "the default key", "not tried", said))
    return trials


async def try_stream(api: JsonApi, service: Literal["kinesis", "firehose"], name: str) -> list[Trial]:
    """Look whether a stream of Kinesis or Firehose is there; waits for one call."""
    if service == "kinesis":
        put, look, member = "PutRecords", "DescribeStreamSummary", "StreamName"
    else:
        put, look, member = "PutRecordBatch", "DescribeDeliveryStream", "DeliveryStreamName"
    stream = f"stream {name}"
    try:
        await api.call(look, json.dumps({member: name}).encode())
    except AwsError as error:
        if error.code == "ResourceNotFoundException":
            trial = Trial(f"{service}:{look}", stream, "failed", "it does not exist", "create it, or mend its name")
        else:
            trial = _judged(f"{service}:{look}", stream, error)
    except (NoAnswer, NoCredentials) as error:
        trial = _judged(f"{service}:{look}", stream, error)
    else:
        trial = Trial(f"{service}:{look}", stream, "allowed")
    if trial.outcome == "denied":
        # Delivery does without it.
        trial = msgspec.structs.replace(trial, said="delivery does not need it", remedy="")
    return [trial, Trial(f"{service}:{put}", stream, "not tried", "that would put records into it")]


Refusal = AwsError | NoAnswer | NoCredentials


async def _logs_call(api: JsonApi, operation: str, group: str, **members: object) -> Refusal | None:
    try:
        await api.call(operation, json.dumps({"logGroupName": group, **members}).encode())
    except (AwsError, NoAnswer, NoCredentials) as error:
        return error
    return None


async def _s3_call(api: RestApi, method: str, path: str, body: bytes = b"") -> Refusal | None:
    try:
        await api.call(method, path, body=body)
    except (AwsError, NoAnswer, NoCredentials) as error:
        return error
    return None


def _judged(action: str, target: str, refusal: Refusal | None, *expected: str) -> Trial:
    """What a call tells about its action; with one of the `expected` errors it was allowed and in vain."""
    if refusal is None or (isinstance(refusal, AwsError) and refusal.code in expected):
        return Trial(action, target, "allowed")
    said = words_of(refusal)
    if not isinstance(refusal, AwsError):
        return Trial(action, target, "failed", said, "see that the endpoint can be reached from here")
    if _ACTION_DENIED.search(refusal.code):
        return Trial(action, target, "denied", said, f"allow {action} in the IAM policy, and see who else denies it")
    if is_denied(refusal):
        return Trial(action, target, "failed", said, "mend the credentials")
    return Trial(action, target, "failed", said, "see what the service complains about")


def _judged_head(bucket: str, region: str, refusal: Refusal | None) -> Trial:
    """What HeadBucket tells; delivery does not need to be allowed to call it, only the bucket in its region."""
    action = "s3:ListBucket"
    if isinstance(refusal, AwsError):
        if refusal.status == 404:
            return Trial(action, bucket, "failed", "it does not exist", "create it, or mend its name")
        if refusal.status in (301, 307):
            said = f"it is not in region {region}"
            return Trial(action, bucket, "failed", said, "set region to that of the bucket")
        if refusal.status in (400, 403):  # an answer to HEAD has no words; those to the next calls have
            return Trial(action, bucket, "denied", "delivery does not need it")
    return _judged(action, bucket, refusal)


def _is_about_group(refusal: Refusal | None) -> bool:
    is_missing = isinstance(refusal, AwsError) and refusal.code == "ResourceNotFoundException"
    return is_missing and "log group" in str(refusal)


def words_of(error: Exception) -> str:
    """An error in one line; what follows the first may repeat the headers of the request, session token and all."""
    return str(error).partition("\n")[0][:_LONGEST_WORDS]
