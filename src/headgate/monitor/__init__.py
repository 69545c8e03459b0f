"""The process of a node that checks the servers of upstreams."""
