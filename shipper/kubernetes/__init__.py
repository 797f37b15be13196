"""The API server of Kubernetes: where it is, how it is asked, and leases that say who leads."""
