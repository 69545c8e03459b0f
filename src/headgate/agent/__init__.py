"""The agent: the process of a node that follows the store and serves the Admin API. Started by the supervisor only."""
