"""Tunnels: servers behind NAT dial out, and the gateway serves what they expose as servers of upstreams."""
