"""The waiting room of waiting_room.py for several nodes: seats and queue are in Redis, where one script decides."""

import hmac
import os
import re

from headgate import Gateway, Request, Response, ResponseView

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
redis = gate.redis(os.environ.get("REDIS", "redis://127.0.0.1:6379"))
SECRET = os.environ.get("SECRET", "change me").encode()
SETTINGS = [os.environ.get(*known) for known in (("SEATS", 100), ("STAY_S", 300), ("PATIENCE_S", 30))]
PAGE = "<!doctype html><title>Please wait</title>You are number {} in the queue. This page asks again."
KEYS = ["{room}:inside", "{room}:queue", "{room}:seen", "{room}:last"]
enter = redis.register_script("""
local call, inside, queue, seen, last = redis.call, unpack(KEYS)
local number, seats, stay, patience = unpack(ARGV)
local now = tonumber(call('TIME')[1]) + call('TIME')[2] / 1e6
call('ZREMRANGEBYSCORE', inside, '-inf', now)
for _, gone in ipairs(call('ZRANGEBYSCORE', seen, '-inf', now - patience)) do
  call('ZREM', queue, gone) call('ZREM', seen, gone) end
if not call('ZSCORE', inside, number) and not call('ZSCORE', queue, number) then
  number = call('INCR', last) call('ZADD', queue, number, number)
end
call('ZADD', seen, now, number)
while call('ZCARD', inside) < tonumber(seats) and call('ZCARD', queue) > 0 do
  call('ZADD', inside, now + stay, call('ZPOPMIN', queue)[1])
end
if call('ZSCORE', inside, number) then call('ZADD', inside, now + stay, number) end
return {tonumber(number), (call('ZRANK', queue, number) or -1) + 1}""")


@gate.route("/", to=gate.upstream("shop", os.environ.get("ORIGIN", "127.0.0.1:9000")))
async def door(request: Request) -> Response | None:
    given = re.search(r"\bticket=(([0-9]{1,18})-[0-9a-f]{64})", request.headers.get("cookie", ""))
    number = int(given[2]) if given and hmac.compare_digest(given[1], signed(int(given[2]))) else 0
    number, position = await enter(keys=KEYS, args=[number, *SETTINGS])
    cookie = request.state.ticket = f"ticket={signed(number)}; Path=/; HttpOnly; SameSite=Lax"
    headers = {"set-cookie": cookie, "refresh": "5", "cache-control": "no-store", "content-type": "text/html"}
    return Response(503, PAGE.format(position), headers=headers) if position else None


@door.response
def keep_ticket(request: Request, response: ResponseView) -> None:
    response.headers.add("set-cookie", request.state.ticket)


def signed(number: int) -> str:
    return f"{number}-{hmac.digest(SECRET, b'%d' % number, 'sha256').hex()}"
