"""The kubernetes filter: tell of each record which pod and container it is of."""

from .filter import KubernetesFilter, KubernetesOptions

__all__ = ["KubernetesFilter", "KubernetesOptions"]
