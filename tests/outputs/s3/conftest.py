"""Fixtures of the tests of this output."""

from tests.components.moto_server import aws_keys, moto_url
from tests.outputs.s3.server import s3

__all__ = ["aws_keys", "moto_url", "s3"]
