"""The ecs filter: tell of each record which ECS task and container it came from."""

from .filter import EcsFilter, EcsOptions

__all__ = ["EcsFilter", "EcsOptions"]
