"""The shipper: the process of a node that sends the access log to its targets."""
