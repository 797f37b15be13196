"""What errors of the service mean."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.aws.settings import AwsError, denial_in, is_denied
from shipper.outputs.cloudwatch_logs.verdicts import Verdict, event_limit_in, next_token, verdict_on


@pytest.mark.parametrize(
    ("code", "status", "message", "verdict"),
    [
        ("ResourceNotFoundException", 400, "", Verdict.NO_STREAM),
        ("InvalidSequenceTokenException", 400, "", Verdict.NEW_TOKEN),
        ("DataAlreadyAcceptedException", 400, "", Verdict.ALREADY_ACCEPTED),
        ("ThrottlingException", 400, "Rate exceeded", Verdict.LATER),
        ("TooManyRequestsException", 429, "", Verdict.LATER),
        ("ServiceUnavailableException", 503, "", Verdict.LATER),
        ("InternalFailure", 500, "", Verdict.LATER),
        ("LimitExceededException", 400, "", Verdict.LATER),
        ("503", 503, "<html>", Verdict.LATER),
        ("404", 404, "<html>no such page", Verdict.LATER),
        ("413", 413, "Request Entity Too Large", Verdict.TOO_LARGE),
        ("414", 414, "", Verdict.TOO_LARGE),
        ("InvalidParameterException", 400, "Upload too large: 1300000 bytes exceeds limit of 1048576", Verdict.REFUSED),
        ("InvalidParameterException", 400, "Log event too large: 300026 bytes exceeds limit", Verdict.EVENT_TOO_LARGE),
        ("InvalidParameterException", 400, "The batch of log events cannot span more than 24 hours.", Verdict.REFUSED),
        ("InvalidParameterException", 400, "1 error: value at 'logStreamName' failed", Verdict.LATER),
        ("SerializationException", 400, "", Verdict.REFUSED),
        ("ValidationException", 400, "", Verdict.REFUSED),
        ("AccessDeniedException", 400, "", Verdict.DENIED),
        ("UnrecognizedClientException", 400, "", Verdict.DENIED),
        ("ExpiredTokenException", 400, "", Verdict.DENIED),
        ("InvalidSignatureException", 403, "Signature expired", Verdict.DENIED),
        ("403", 403, "accessdenied by proxy", Verdict.DENIED),
        ("SomethingNew", 400, "never seen", Verdict.LATER),
        ("InvalidParameterException", 400, "value 'Expired: AccessDenied' failed to satisfy", Verdict.REFUSED),
        ("ResourceNotFoundException", 400, "no such log group: /app/InvalidToken-Expired", Verdict.NO_STREAM),
    ],
)
def test_verdict_on_an_error(code: str, status: int, message: str, verdict: Verdict) -> None:
    assert verdict_on(AwsError(code, status, message)) is verdict


@pytest.mark.parametrize(
    ("code", "message", "denied", "told"),
    [
        ("AccessDeniedException", "no policy", True, "not allowed: x"),
        ("ExpiredTokenException", "the security token is expired", True, "not allowed: x"),
        ("InvalidSignatureException", "Signature expired: 1 is now earlier than 2", True, "signed by a clock"),
        ("RequestTimeTooSkewed", "", True, "signed by a clock"),
        ("RequestExpired", "", True, "signed by a clock"),
        ("403", "accessdenied by proxy", True, "not allowed: x"),
        ("", "Signature not yet current", True, "signed by a clock"),
        ("InvalidParameterException", "the value 'Expired' is not possible", False, "not allowed: x"),
        ("ResourceNotFoundException", "the group AccessDenied does not exist", False, "not allowed: x"),
    ],
)
def test_a_code_says_whether_credentials_are_at_fault_and_words_only_without_one(
    code: str, message: str, denied: bool, told: str
) -> None:
    error = AwsError(code, 400, message)

    assert is_denied(error) is denied
    assert denial_in(error, "x").startswith(told)


@pytest.mark.parametrize(
    ("fields", "message", "token"),
    [
        ({"expectedSequenceToken": "t9"}, "", "t9"),
        ({"expectedSequenceToken": "t9"}, "The next expected sequenceToken is: t8", "t9"),
        ({}, "The given sequenceToken is invalid. The next expected sequenceToken is: abc123", "abc123"),
        ({"expectedSequenceToken": None}, "The next expected sequenceToken is: 4959.", "4959"),
        ({}, "already been accepted. The next batch can be sent with sequenceToken: 496", "496"),
        ({}, "The given sequenceToken is invalid. The next expected sequenceToken is: null", None),
        ({"expectedSequenceToken": 7}, "The given sequenceToken is invalid.", None),
        ({}, "", None),
    ],
)
def test_the_next_token_is_read_from_its_field_or_from_the_words(
    fields: dict[str, Any], message: str, token: str | None
) -> None:
    assert next_token(AwsError("InvalidSequenceTokenException", 400, message, fields=fields)) == token


def test_trouble_of_the_server_is_not_a_matter_of_credentials() -> None:
    assert not is_denied(AwsError("InternalFailure", 500, "the token expired inside"))


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("Log event too large: 300026 bytes exceeds limit of 262144", 262_144),
        ("Log event too large: exceeds the maximum of 1048576 bytes", 1_048_576),
        ("Log event too large", 262_144),
    ],
)
def test_limit_of_events_is_read_from_the_error(message: str, limit: int) -> None:
    assert event_limit_in(message) == limit
