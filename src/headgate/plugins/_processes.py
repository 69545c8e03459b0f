"""Work that job processes do: what plugins have in common whose libraries can take any time and memory."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headgate import JobFailed, Overloaded, PluginContext

from ._bodies import BadBody

LONGEST_WAIT = 25.0
"""Seconds of the clock that a request waits for its body, below the default deadline of hooks: job processes give way
to all others, so that on a busy machine a second of the processor can take many of the clock."""


class InProcess(BaseModel):
    """The settings of those that compute in a job process."""

    model_config = ConfigDict(extra="forbid")

    timeout: float = Field(
        default=1, gt=0, le=60, description="The most time of a processor that a body may take, in seconds."
    )
    max_memory_bytes: int = Field(
        default=134_217_728, ge=16_777_216, description="The most memory that a body may take."
    )


async def computed(context: PluginContext, function: Any, *args: Any) -> bytes:
    """What a function of a job process makes of a body; raises `BadBody`, also where it takes too long or too much
    memory.
    """
    try:
        made: bytes = await context.run_in_process(function, *args, timeout=LONGEST_WAIT)
    except (Overloaded, TimeoutError):
        raise BadBody("too many bodies are being transformed", 503) from None
    except (JobFailed, MemoryError) as error:
        context.log.warning("a body takes too much time or memory", extra={"reason": type(error).__name__})
        raise BadBody("the body takes too much time or memory to transform", 413) from None
    return made
