"""Workers that take requests from a gateway when they are idle: see `Worker`.

The upstream has `balance: pull`. A worker connects to the gateway, so it needs no address of its own.
"""

from headgate.pull.job import BodyTooLarge, Job
from headgate.pull.worker import Handler, Worker

__all__ = ["BodyTooLarge", "Handler", "Job", "Worker"]
