-- What the ten plugins of bench/gates/ten_plugins.py do, as a module: what it uses are locals.
local ngx = ngx
local math, string = math, string
local bit = require "bit"
local keys = { [ngx.sha1_bin("key")] = "alice" }
local origins = { ["https://a.example"] = true }
local denied = { { 0xC0000200, 0xFFFFFF00 }, { 0xC6336400, 0xFFFFFF00 } }
local agents, agent_pattern = { "curl", "wget" }, "^python-requests/"
local paths, path_pattern = { "/wp-admin", "/.git" }, "\\.(bak|sql)$"
local step, depth = 0.0036, 3600000.0
local function has(text, list, pattern)
  local lowered = string.lower(text)
  for i = 1, #list do if string.find(lowered, list[i], 1, true) then return true end end
  return ngx.re.find(text, pattern, "ijo") ~= nil
end

local ten = {}

function ten.access()
  local ctx, var, req, now = ngx.ctx, ngx.var, ngx.req, ngx.now()
  local fields = req.get_headers()
  -- request-id: a UUID of version 7
  local ms = math.floor(now * 1000)
  local id = string.format("%08x-%04x-7%03x-%04x-%06x%06x", math.floor(ms / 65536), ms % 65536,
    math.random(0, 0xfff), math.random(0x8000, 0xbfff), math.random(0, 0xffffff), math.random(0, 0xffffff))
  req.set_header("x-correlation-id", id)
  ctx.id = id
  -- ip-restriction
  local packed = var.binary_remote_addr
  local a, b, c, d = string.byte(packed, 1, 4)
  local address = ((a * 256 + b) * 256 + c) * 256 + d
  for i = 1, #denied do
    if bit.band(address, denied[i][2]) == bit.tobit(denied[i][1]) then return ngx.exit(403) end
  end
  -- ua-restriction, uri-blocker
  local agent = fields["user-agent"]
  if agent and has(agent, agents, agent_pattern) then return ngx.exit(403) end
  local target = var.request_uri
  if has(target, paths, path_pattern) then return ngx.exit(403) end
  if string.find(target, "%", 1, true) and has(ngx.unescape_uri(target), paths, path_pattern) then
    return ngx.exit(403)
  end
  -- cors: preflights
  local origin = fields["origin"]
  if req.get_method() == "OPTIONS" and origin and fields["access-control-request-method"] then
    return ngx.exit(204)
  end
  ctx.origin = origin
  -- rate-limit: the generic cell rate algorithm
  local rates = ngx.shared.rates
  local full_at = rates:get(packed) or now
  local full_in = (full_at > now and full_at - now or 0) + step
  if full_in > depth then
    ngx.header["retry-after"] = math.ceil(full_in - depth)
    return ngx.exit(429)
  end
  rates:set(packed, now + full_in, full_in)
  ctx.left, ctx.reset = math.floor((depth - full_in) / step), math.ceil(full_in)
  -- request-size
  local count = 0
  for _ in pairs(fields) do count = count + 1 end
  if #target > 1000 or count > 100 then return ngx.exit(414) end
  if (tonumber(var.http_content_length) or 0) > 1000 then return ngx.exit(413) end
  -- key-auth
  local key = fields["x-api-key"]
  local consumer = type(key) == "string" and keys[ngx.sha1_bin(key)]
  if not consumer then return ngx.exit(401) end
  req.clear_header("x-api-key")
  req.set_header("x-consumer", consumer)
  -- headers
  req.clear_header("x-c")
  req.set_header("x-a", "b")
end

function ten.header_filter()
  local ctx, header = ngx.ctx, ngx.header
  header["x-d"] = "e"
  header["ratelimit-policy"] = '"rate-limit";q=1000000000;w=3600000'
  header["ratelimit"] = '"rate-limit";r=' .. (ctx.left or 0) .. ";t=" .. (ctx.reset or 0)
  header["vary"] = "Origin"
  if ctx.origin and origins[ctx.origin] then header["access-control-allow-origin"] = ctx.origin end
  header["x-powered-by"] = nil
  header["x-content-type-options"] = "nosniff"
  header["x-frame-options"] = "SAMEORIGIN"
  header["referrer-policy"] = "strict-origin-when-cross-origin"
  header["x-correlation-id"] = ctx.id
end

return ten
