"""The command `shipper doctor`: looks for what will hurt later, in Kubernetes manifests and in AWS."""
