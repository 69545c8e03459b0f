"""The benchmark's lab: gateways side by side, one core for them and one for the origin and the load."""
