"""The error for callers that must tell a refusal from a failure."""


class Overloaded(RuntimeError):
    """A limit of the gateway is reached. The call was not started; retrying it later is safe."""
