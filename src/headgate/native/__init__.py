"""Native actions: what a plugin's hook does, told to the engine, which does it without calling the hook.

How it works: `Plugin.native` gives a list of actions for some of the plugin's hooks. The engine does them in order;
each is done, or leaves the request to the hook, which is called then as if there were no actions. So the hook is the
truth, and actions are its fast way for the requests that are nothing special. What may ask the hook comes before what
changes something, so that nothing is done twice.
"""

from headgate._core import Passed, Period, Tally

from .actions import (
    Action,
    AskBeyond,
    AskFound,
    AskIf,
    AskListed,
    AskSet,
    CodedResponse,
    CorsFields,
    Count,
    EditFields,
    EndNoted,
    KnownKey,
    Mark,
    Native,
    NotedField,
    Part,
    PassOnce,
    Rate,
    RateFields,
    Remember,
    Sample,
    SetId,
    SetState,
    SignedTarget,
    TakeSlot,
    TallyCall,
    Throttle,
    WantedCoding,
    Who,
)
from .telling import can_set

__all__ = [
    "Action",
    "AskBeyond",
    "AskFound",
    "AskIf",
    "AskListed",
    "AskSet",
    "CodedResponse",
    "CorsFields",
    "Count",
    "EditFields",
    "EndNoted",
    "KnownKey",
    "Mark",
    "Native",
    "NotedField",
    "Part",
    "PassOnce",
    "Passed",
    "Period",
    "Rate",
    "RateFields",
    "Remember",
    "Sample",
    "SetId",
    "SetState",
    "SignedTarget",
    "TakeSlot",
    "Tally",
    "TallyCall",
    "Throttle",
    "WantedCoding",
    "Who",
    "can_set",
]
