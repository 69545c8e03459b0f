"""No command of one request reaches another through the connection that they share."""

import pytest

from headgate._redis_sessions import refuse


@pytest.mark.parametrize(
    "command",
    [
        "SELECT 1",
        "select 1",
        "AUTH user password",
        "HELLO 3",
        "MULTI",
        "WATCH key",
        "SUBSCRIBE news",
        "MONITOR",
        "RESET",
        "QUIT",
        "READONLY",
        "CLIENT REPLY OFF",
        "client setname me",
        "CLIENT TRACKING ON",
        "BLPOP queue 0",
        "WAIT 1 0",
        "XREAD COUNT 1 BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode, lambda word: bytearray(word.encode())])
def test_what_changes_or_holds_the_connection_is_refused(command: str, kind: type) -> None:
    with pytest.raises(ValueError, match=r"the connection that all requests share; hint: .*redis\.asyncio"):
        refuse([kind(word) for word in command.split()])


@pytest.mark.parametrize(
    "command",
    [
        "LPUSH queue x",
        "CLIENT LIST",
        "CLIENT ID",
        "XREAD COUNT 1 STREAMS s 0",
        "GET select",
        "SET key MULTI",
        "",
    ],
)
def test_everything_else_is_sent(command: str) -> None:
    refuse(command.split())
    refuse([1, 2.5])
