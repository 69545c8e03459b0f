"""The refusal that callers of this room may want to tell from a failure."""


class Overloaded(RuntimeError):
    """A limit of the gateway is reached. The call was not started; retrying it later is safe."""
