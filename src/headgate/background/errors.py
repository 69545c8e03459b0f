"""The refusal that callers of this room may want to tell from a failure."""


class Overloaded(RuntimeError):
    """A bound of the gateway's own is reached, so that the call was not begun; trying again later is safe."""
