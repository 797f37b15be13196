"""Fixtures of the tests of the doctor."""

from tests.components.moto_server import aws_keys, moto_url
from tests.components.scripted_aws import scripted_aws
from tests.outputs.s3.server import s3

__all__ = ["aws_keys", "moto_url", "s3", "scripted_aws"]
