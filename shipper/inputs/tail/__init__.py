"""The tail input."""

from .input import TailInput
from .options import TailOptions

__all__ = ["TailInput", "TailOptions"]
