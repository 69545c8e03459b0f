"""What the agent proposes, on its way into the workers: prepared in all, then written to the store, then applied.

How it works: the agent says what the configuration would come to. Every worker makes it ready, or says why it cannot;
the agent hears that, writes to the store, and accepts. Only then is it applied, in one swap each. What only new workers
can serve is loaded by a new generation when the agent has accepted; if that fails, the agent takes its write back.
A difference is for workers that have what it is to. Where one has not, the agent hears that, and proposes the whole.
One proposal is under way at a time, and none beside a reload.
"""

import os
from collections.abc import Callable

from headgate.control import agent_messages as messages
from headgate.control.commands import Refused, Reloaded
from headgate.control.reactor import TimerHandle
from headgate.control.records import Message
from headgate.supervisor.generations import Generations
from headgate.supervisor.proposing import Proposing
from headgate.supervisor.resources import Held
from headgate.supervisor.state import State

Proposal = tuple[messages.Propose | messages.ProposeDifference, list[int]]
"""With the descriptors that came along."""

_PREPARED = messages.ProposalPrepared()
POSTPONED = messages.ProposalPrepared(
    error="the gateway is loading its file anew\n  hint: try again", is_postponed=True
)


class Proposals:
    """The one proposal that is under way, or waits for a reload to end."""

    def __init__(self, state: State, generations: Generations, proposing: Proposing) -> None:
        self._state, self._generations, self._proposing = state, generations, proposing
        self.reply: Callable[[Message], None] = lambda _: None
        """Tells the agent."""
        self._waiting: Proposal | None = None
        self._resources: Held | bytes | None = None
        """Of the one that is under way: the whole, or what differs from those in force."""
        self._needs_workers = False
        self._is_accepted = False
        self._is_accepted_later = False
        """Accepted while a reload was under way."""
        self._timer: TimerHandle | None = None

    def propose(self, message: messages.Propose | messages.ProposeDifference, descriptors: list[int]) -> None:
        """Has every worker make it ready."""
        if self._resources:  # the agent breaks the rules, or is another one
            self.withdraw()
        self._drop_waiting()
        if self._state.stopping:
            _close(descriptors)
            return self.reply(messages.ProposalPrepared(error="the gateway is stopping"))
        if self._generations.is_reloading or self._state.current is None:
            self._waiting = (message, descriptors)
            return None
        self._needs_workers, self._is_accepted = False, False
        if isinstance(message, messages.ProposeDifference):
            self._resources = message.resources.encode() + b"\n"
            self._proposing.begin_difference(
                message, prepared=self._prepared, refused=self._refused, applied=self._applied
            )
            return None
        told, resources = descriptors
        self._resources = Held(resources)
        self._proposing.begin(
            message, told, prepared=self._prepared, refused=self._refused, applied=self._applied
        )
        return None

    def settled(self) -> None:
        """A reload is over."""
        if self._is_accepted_later and not self._generations.is_reloading:
            self.accept()
        if self._waiting and not self._generations.is_reloading:
            (message, descriptors), self._waiting = self._waiting, None
            self.propose(message, descriptors)

    def accept(self) -> None:
        """It is in the store: applies it."""
        if self._resources is None or self._is_accepted:
            return
        self._end_timer()
        if self._needs_workers and self._generations.is_reloading:
            self._is_accepted_later = True
            return
        self._is_accepted, self._is_accepted_later = True, False
        if self._needs_workers and isinstance(self._resources, Held):
            resources, self._resources = self._resources, None
            self._generations.begin(self._reloaded, resources)
        else:
            self._proposing.commit()

    def withdraw(self) -> None:
        """Forgets it, unless it was accepted."""
        self._drop_waiting()
        if self._resources is None or self._is_accepted or self._is_accepted_later:
            return
        self._forget()
        self._proposing.discard()

    def agent_left(self) -> None:
        """It is no longer accepted by any worker; if it hears that still, it may be tried again."""
        if self._waiting or (self._resources and not self._is_accepted):
            self.reply(POSTPONED)
        self.withdraw()

    # ---- steps

    def _prepared(self, needs_workers: bool) -> None:
        if needs_workers and isinstance(self._resources, bytes):
            self._forget()
            return self.reply(messages.ProposalPrepared(needs_whole=True))
        self._needs_workers = needs_workers
        self._timer = self._state.reactor.call_later(messages.PROPOSAL_LIMIT_S, self.withdraw)
        return self.reply(messages.ProposalPrepared(needs_workers=True) if needs_workers else _PREPARED)

    def _refused(self, error: str) -> None:
        self._forget()
        self.reply(messages.ProposalPrepared(error=error))

    def _applied(self, generation: int) -> None:
        held, self._resources = self._resources, None
        if isinstance(held, Held):
            self._state.hold(held)
        elif held and self._state.resources:
            self._state.resources.add(held)
        self._state.metrics.is_generation(generation)
        self.reply(messages.ProposalApplied(generation=generation))

    def _reloaded(self, reply: Message) -> None:
        match reply:
            case Reloaded(generation=generation):
                self.reply(messages.ProposalApplied(generation=generation))
            case Refused(error=error):
                self.reply(messages.ProposalApplied(error=error))

    def _forget(self) -> None:
        self._end_timer()
        if isinstance(self._resources, Held):
            self._resources.close()
        self._resources = None

    def _drop_waiting(self) -> None:
        if self._waiting:
            _, descriptors = self._waiting
            self._waiting = None
            _close(descriptors)

    def _end_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
