"""Finds servers by name: in DNS and the files of the system, on one process of a node."""
