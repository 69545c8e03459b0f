"""The dispatcher: the process of a node that hands requests to workers which are idle and have said so."""
