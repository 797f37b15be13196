"""Fixtures of the tests of these outputs."""

from tests.components.moto_server import aws_keys, moto_url
from tests.components.scripted_aws import scripted_aws

__all__ = ["aws_keys", "moto_url", "scripted_aws"]
