"""The aws filter: tell of each record on which EC2 instance it was written."""

from .filter import AwsFilter, AwsOptions

__all__ = ["AwsFilter", "AwsOptions"]
