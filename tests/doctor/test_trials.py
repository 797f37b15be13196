"""Calls that change nothing, and what their answers are taken to mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shipper.aws.messages import RestAnswer
from shipper.aws.settings import Answer, AwsError, NoAnswer, NoCredentials
from shipper.doctor.trials import Trial, try_logs, try_s3, try_stream
from shipper.outputs.cloudwatch_logs.cloudwatch import CloudwatchOptions
from shipper.outputs.cloudwatch_logs.output import CloudwatchLogsOptions
from shipper.outputs.s3.options import S3Options
from tests.written_options import options_from

DENIED = AwsError("AccessDeniedException", 400, "User: arn:x is not authorized to perform: logs:PutLogEvents")
NO_GROUP = AwsError("ResourceNotFoundException", 400, "The specified log group does not exist.")
NO_STREAM = AwsError("ResourceNotFoundException", 400, "The specified log stream does not exist.")
EXISTS = AwsError("ResourceAlreadyExistsException", 400, "it exists")
NO_UPLOAD = AwsError("NoSuchUpload", 404, "no such upload")


class Service:
    """Answers each operation with an error, or with success; keeps the calls."""

    def __init__(self, **errors: Exception) -> None:
        self._errors = errors
        self.calls: list[tuple[str, Any]] = []

    async def call(self, operation: str, body: bytes) -> Answer:
        self.calls.append((operation, json.loads(body)))
        if (error := self._errors.get(operation)) is not None:
            raise error
        return Answer({}, "id")


class Bucket:
    """The same for S3, by method."""

    def __init__(self, **errors: Exception) -> None:
        self._errors = errors
        self.calls: list[tuple[str, str]] = []

    async def call(self, method: str, path: str, *, body: bytes = b"") -> RestAnswer:
        self.calls.append((method, path))
        if (error := self._errors.get(method)) is not None:
            raise error
        return RestAnswer(200, {}, b"")


def logs(lines: str = "log_stream_prefix from-") -> CloudwatchLogsOptions:
    return options_from(CloudwatchLogsOptions, f"region r\nlog_group_name g\n{lines}", "output")


def to_s3(lines: str = "") -> S3Options:
    return options_from(S3Options, f"bucket b\n{lines}", "output")


def outcomes(trials: list[Trial]) -> dict[str, str]:
    return {trial.action.partition(":")[2]: trial.outcome for trial in trials}


def remedies(trials: list[Trial]) -> list[str]:
    return [f"{trial.action}: {trial.remedy}" for trial in trials if trial.remedy]


# -- CloudWatch Logs ---------------------------------------------------------------------------------------------------

CREATING = "log_stream_prefix from-\nauto_create_group on"


@pytest.mark.parametrize(
    ("lines", "errors", "found"),
    [
        ("log_stream_name s", {"CreateLogStream": EXISTS}, {"PutLogEvents": "allowed", "CreateLogStream": "allowed"}),
        (
            "log_stream_name s",
            {"CreateLogStream": DENIED},
            {"PutLogEvents": "allowed", "CreateLogStream": "denied"},
        ),
        (
            "log_stream_prefix from-",
            {"PutLogEvents": NO_STREAM},
            {"PutLogEvents": "allowed", "CreateLogStream": "not tried"},
        ),
        (
            CREATING,
            {"PutLogEvents": NO_STREAM, "CreateLogGroup": EXISTS},
            {"PutLogEvents": "allowed", "CreateLogGroup": "allowed", "CreateLogStream": "not tried"},
        ),
        (
            CREATING,
            {"PutLogEvents": NO_STREAM, "CreateLogGroup": DENIED},
            {"PutLogEvents": "allowed", "CreateLogGroup": "denied", "CreateLogStream": "not tried"},
        ),
        (
            CREATING + "\nlog_retention_days 14",
            {"PutLogEvents": NO_GROUP, "CreateLogStream": NO_GROUP},
            {
                "PutLogEvents": "allowed",
                "CreateLogGroup": "not tried",
                "PutRetentionPolicy": "not tried",
                "CreateLogStream": "allowed",
            },
        ),
        ("log_stream_name s", {"PutLogEvents": DENIED}, {"PutLogEvents": "denied"}),
        ("log_stream_name s", {"PutLogEvents": NoAnswer("cut")}, {"PutLogEvents": "failed"}),
        ("log_stream_name s", {"PutLogEvents": NoCredentials("none")}, {"PutLogEvents": "failed"}),
    ],
)
async def test_logs_tells_which_action_is_allowed(lines: str, errors: dict[str, Exception], found: Any) -> None:
    assert outcomes(await try_logs(Service(**errors), logs(lines))) == found


async def test_logs_is_called_only_in_ways_that_change_nothing() -> None:
    service = Service(PutLogEvents=NO_STREAM, CreateLogGroup=EXISTS)
    await try_logs(service, logs(CREATING))

    (put, creation) = service.calls
    event = {"timestamp": 1, "message": "shipper doctor: too old to be taken"}
    assert put[1] == {"logGroupName": "g", "logStreamName": "from-shipper-doctor", "logEvents": [event]}
    assert creation == ("CreateLogGroup", {"logGroupName": "g"})


async def test_a_missing_group_that_nobody_creates_is_in_the_way() -> None:
    trials = await try_logs(Service(PutLogEvents=NO_GROUP, CreateLogStream=NO_GROUP), logs())

    assert remedies(trials) == ["logs:CreateLogGroup: create it, or set auto_create_group on"]


async def test_a_denied_action_is_named_with_the_words_of_the_service() -> None:
    [trial] = await try_logs(Service(PutLogEvents=DENIED), logs("log_stream_name s"))

    assert str(trial) == (
        "denied    logs:PutLogEvents on log stream s of log group g: AccessDeniedException: User: arn:x is not "
        "authorized to perform: logs:PutLogEvents"
    )
    assert trial.remedy == "allow logs:PutLogEvents in the IAM policy, and see who else denies it"


async def test_credentials_that_are_refused_are_no_matter_of_the_policy() -> None:
    expired = AwsError("ExpiredTokenException", 400, "The security token included in the request is expired")
    [trial] = await try_logs(Service(PutLogEvents=expired), logs())

    assert (trial.outcome, trial.remedy) == ("failed", "mend the credentials")


async def test_the_headers_that_a_refusal_repeats_are_not_told() -> None:
    words = "The signature does not match.\n\nThe Canonical String was 'POST\nx-amz-security-token:SECRET'"
    [trial] = await try_logs(Service(PutLogEvents=AwsError("InvalidSignatureException", 400, words)), logs())

    assert trial.said == "InvalidSignatureException: The signature does not match."


async def test_streams_that_the_older_output_does_not_create_are_not_tried() -> None:
    lines = "region r\nlog_group_name $(tag)\nlog_stream_name s\nauto_create_stream off"
    service = Service(PutLogEvents=NO_STREAM)
    trials = await try_logs(service, options_from(CloudwatchOptions, lines, "output"))

    assert outcomes(trials) == {"PutLogEvents": "allowed"}
    assert service.calls[0][1]["logGroupName"] == "fluentbit-default"


# -- S3 ----------------------------------------------------------------------------------------------------------------


def refused(status: int, code: str = "AccessDenied") -> AwsError:
    return AwsError(code, status, "no")


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        (
            {"PUT": NO_UPLOAD, "DELETE": NO_UPLOAD},
            ["allowed", "allowed", "allowed", "allowed"],
        ),
        (
            {"HEAD": refused(403), "PUT": NO_UPLOAD, "GET": refused(403)},
            ["denied", "allowed", "allowed", "denied"],
        ),
        (
            {"HEAD": refused(403), "PUT": refused(403), "DELETE": refused(403), "GET": refused(403)},
            ["denied"] * 4,
        ),
        ({"HEAD": refused(400), "PUT": refused(400, "ExpiredToken")}, ["denied", "failed", "allowed", "allowed"]),
        ({"HEAD": refused(404, "NotFound")}, ["failed"]),
        ({"HEAD": refused(301, "Status301")}, ["failed"]),
        ({"HEAD": NoAnswer("cut")}, ["failed"]),
    ],
)  # fmt: skip
async def test_s3_tells_which_action_is_allowed(errors: dict[str, Exception], found: list[str]) -> None:
    trials = await try_s3(Bucket(**errors), to_s3())

    assert [trial.outcome for trial in trials] == found
    actions = ["s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads"]
    assert [trial.action for trial in trials] == actions[: len(found)]


async def test_s3_is_called_only_in_ways_that_change_nothing() -> None:
    bucket = Bucket(PUT=NO_UPLOAD, DELETE=NO_UPLOAD)
    await try_s3(bucket, to_s3("s3_key_format /logs é/$TAG/%Y"))

    assert bucket.calls == [
        ("HEAD", "/"),
        ("PUT", "/logs%20%C3%A9/shipper-doctor?partNumber=1&uploadId=shipper-doctor"),
        ("DELETE", "/logs%20%C3%A9/shipper-doctor?uploadId=shipper-doctor"),
        ("GET", "/?max-uploads=1&prefix=logs%20%C3%A9%2Fshipper-doctor&uploads="),
    ]


async def test_a_bucket_that_may_not_be_listed_is_not_in_the_way() -> None:
    assert remedies(await try_s3(Bucket(HEAD=refused(403), PUT=NO_UPLOAD), to_s3("use_put_object on"))) == []


async def test_objects_put_in_one_go_need_no_uploads() -> None:
    trials = await try_s3(Bucket(PUT=refused(403)), to_s3("use_put_object on\nsse aws:kms"))

    assert outcomes(trials) == {"ListBucket": "allowed", "PutObject": "denied", "GenerateDataKey": "not tried"}
    assert remedies(trials) == ["s3:PutObject: allow s3:PutObject in the IAM policy, and see who else denies it"]


# -- Kinesis and Firehose ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "remedy"),
    [
        (None, "allowed", ""),
        (AwsError("AccessDeniedException", 400, "no"), "denied", ""),
        (AwsError("ResourceNotFoundException", 400, "no"), "failed", "create it, or mend its name"),
        (NoAnswer("cut"), "failed", "see that the endpoint can be reached from here"),
        (AwsError("ExpiredTokenException", 400, "no"), "failed", "mend the credentials"),
    ],
)
async def test_a_stream_is_looked_at_and_not_written(error: Exception | None, outcome: str, remedy: str) -> None:
    service = Service(**({"DescribeStreamSummary": error} if error else {}))
    looked, put = await try_stream(service, "kinesis", "s")

    assert (looked.outcome, looked.remedy) == (outcome, remedy)
    assert (put.action, put.outcome) == ("kinesis:PutRecords", "not tried")
    assert service.calls == [("DescribeStreamSummary", {"StreamName": "s"})]


async def test_a_delivery_stream_is_looked_at_under_its_own_name() -> None:
    service = Service()
    looked, put = await try_stream(service, "firehose", "s")

    assert (looked.action, put.action) == ("firehose:DescribeDeliveryStream", "firehose:PutRecordBatch")
    assert service.calls == [("DescribeDeliveryStream", {"DeliveryStreamName": "s"})]
