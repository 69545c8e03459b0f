"""Registries that list servers, each a stream of what it lists: Consul, Kubernetes, Docker, DNS-SD."""
