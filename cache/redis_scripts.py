"""What runs inside Redis. Each script is atomic there; all keys of a store share one hash tag, so one node has them.

    {PREFIX}:life    "IDENTITY@DEADLINE" of the server whose state is whole, and of the healing that made it so;
                     anything else: commits are refused
    {PREFIX}:record  hash: field -> stored form (coding.py)
    {PREFIX}:log     stream: r records, n notes, h how it came to be there when it is no plain commit
    {PREFIX}:heal    hash, while healing: identity, deadline (µs of Redis' clock), p:SERVER -> end of its lease (µs)

Versions are compared as strings where equality is meant and as numbers below 10¹⁵ where order is. Nothing here reads a
value: quantities never become Lua's doubles.
"""

import hashlib
from typing import Any, Final

_COMMON: Final = """
local function version(stored)
  if stored then return string.match(stored, '^%d+') end
  return '0'
end
local blob = {}
local function logged(field, stored)
  blob[#blob + 1] = struct.pack('<I4', #field) .. field .. struct.pack('<I4', #stored) .. stored
end
local function now_us()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end
"""

# KEYS life record log. ARGV life, entries kept, notes, field and number of the told one ('' for none),
# how many are expected, then for each: field, version, new stored form (or only its version: the value stays);
# then for each put that expects nothing: field, stored form without its version.
_COMMIT: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local told, number, expected = ARGV[4], ARGV[5], tonumber(ARGV[6])
if told ~= '' and tonumber(version(redis.call('HGET', KEYS[2], told))) >= tonumber(number) then return {'told'} end
local puts = 7 + 3 * expected
local standing, kept, met = {}, {}, true
for e = 1, expected do
  local at = 4 + 3 * e
  kept[e] = redis.call('HGET', KEYS[2], ARGV[at])
  standing[e] = version(kept[e])
  met = met and standing[e] == ARGV[at + 1]
end
if not met then return {'conflict', standing} end
local function write(field, stored)
  redis.call('HSET', KEYS[2], field, stored)
  logged(field, stored)
end
for e = 1, expected do
  local at = 4 + 3 * e
  local stored = ARGV[at + 2]
  if not string.find(stored, '^%d+[:-]') then
    stored = stored .. (kept[e] and string.sub(kept[e], #standing[e] + 1) or '-')
  end
  write(ARGV[at], stored)
end
local versions = {}
for at = puts, #ARGV, 2 do
  local raised = string.format('%.0f', tonumber(version(redis.call('HGET', KEYS[2], ARGV[at]))) + 1)
  versions[#versions + 1] = raised
  write(ARGV[at], raised .. ARGV[at + 1])
end
if told ~= '' then write(told, number .. '-') end
local id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'r', table.concat(blob), 'n', ARGV[3])
return {'done', id, versions}
"""

# KEYS life heal. ARGV identity, server, window µs, lease µs.
_CLAIM: Final = """
local life = redis.call('GET', KEYS[1])
if life and string.sub(life, 1, #ARGV[1] + 1) == ARGV[1] .. '@' then return {'live', life} end
local now = now_us()
if redis.call('HGET', KEYS[2], 'identity') ~= ARGV[1] then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'identity', ARGV[1], 'deadline', string.format('%.0f', now + tonumber(ARGV[3])))
end
redis.call('SET', KEYS[1], 'healing')
redis.call('HSET', KEYS[2], 'p:' .. ARGV[2], string.format('%.0f', now + tonumber(ARGV[4])))
return {'healing', ARGV[1] .. '@' .. redis.call('HGET', KEYS[2], 'deadline')}
"""

# KEYS life record log heal. ARGV identity, server, lease µs, entries kept, then for each: field, stored form.
_PUSH: Final = """
if redis.call('HGET', KEYS[4], 'identity') ~= ARGV[1] then return {'again'} end
redis.call('HSET', KEYS[4], 'p:' .. ARGV[2], string.format('%.0f', now_us() + tonumber(ARGV[3])))
for at = 5, #ARGV, 2 do
  local field, stored = ARGV[at], ARGV[at + 1]
  if tonumber(version(redis.call('HGET', KEYS[2], field))) < tonumber(version(stored)) then
    redis.call('HSET', KEYS[2], field, stored)
    logged(field, stored)
  end
end
if #blob > 0 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'r', table.concat(blob), 'n', '', 'h', 'push')
end
return {'done'}
"""

# KEYS life record log heal. ARGV identity (or, when Redis is live, its life), server, lease µs, entries kept, notes,
# then for each record of one change: field, stored form. It is made again where it follows on what stands.
_REPLAY: Final = """
if redis.call('HGET', KEYS[4], 'identity') == ARGV[1] then
  redis.call('HSET', KEYS[4], 'p:' .. ARGV[2], string.format('%.0f', now_us() + tonumber(ARGV[3])))
elseif redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'again'}
end
local present = true
for at = 6, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[at]) ~= ARGV[at + 1] then present = false end
end
if present then return {'done'} end
for at = 6, #ARGV, 2 do
  local before = string.format('%.0f', tonumber(version(ARGV[at + 1])) - 1)
  if version(redis.call('HGET', KEYS[2], ARGV[at])) ~= before then return {'conflict'} end
end
for at = 6, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  logged(ARGV[at], ARGV[at + 1])
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'r', table.concat(blob), 'n', ARGV[5], 'h', 'replay')
return {'done'}
"""

# KEYS life log heal. ARGV identity, server, entries kept.
_FINISH: Final = """
if redis.call('HGET', KEYS[3], 'identity') ~= ARGV[1] then return {'again'} end
redis.call('HDEL', KEYS[3], 'p:' .. ARGV[2])
local now = now_us()
local deadline = redis.call('HGET', KEYS[3], 'deadline')
if tonumber(deadline) > now then return {'wait'} end
local held = redis.call('HGETALL', KEYS[3])
for at = 1, #held, 2 do
  if string.sub(held[at], 1, 2) == 'p:' and tonumber(held[at + 1]) > now then return {'wait'} end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'r', '', 'n', '', 'h', 'life')
local life = ARGV[1] .. '@' .. deadline
redis.call('SET', KEYS[1], life)
redis.call('DEL', KEYS[3])
return {'live', life}
"""


class Script:
    """A script and the keys it works on."""

    def __init__(self, source: str, *keys: str) -> None:
        self.source = source
        self._keys = keys
        self._sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - Redis' choice

    def head(self, prefix: str) -> tuple[Any, ...]:
        """The command that runs it, up to its arguments."""
        return ("EVALSHA", self._sha, len(self._keys), *(key_named(prefix, key) for key in self._keys))


def key_named(prefix: str, key: str) -> str:
    """A key of the state."""
    return f"{{{prefix}}}:{key}"


COMMIT: Final = Script(_COMMON + _COMMIT, "life", "record", "log")
CLAIM: Final = Script(_COMMON + _CLAIM, "life", "heal")
PUSH: Final = Script(_COMMON + _PUSH, "life", "record", "log", "heal")
REPLAY: Final = Script(_COMMON + _REPLAY, "life", "record", "log", "heal")
FINISH: Final = Script(_COMMON + _FINISH, "life", "log", "heal")
SCRIPTS: Final = (COMMIT, CLAIM, PUSH, REPLAY, FINISH)
EMPTY: Final = Script("return 1", "life")
"""Does nothing: what a commit is measured against."""
