"""The Lua scripts that run inside Redis, each atomically. All keys of a store share one hash tag, so one node has them.

    {PREFIX}:life    "EPOCH SIZE NOTES KNOWN ENTRY". EPOCH, the fencing token, is "IDENTITY@DEADLINE" of the Redis
                     process and of the healing that made the state whole; SIZE and NOTES are the lengths of the two
                     hashes; KNOWN is the number of notes in the history; ENTRY is the last entry of the log. Unless all
                     of them match, commits are refused
    {PREFIX}:record  hash: field -> stored form (coding.py)
    {PREFIX}:note    hash: digest -> notes of one commit (coding.py): the history, which only grows
    {PREFIX}:log     stream: p the entry before it, r records, n notes, k KNOWN after it, h its origin if it is not a
                     commit ('push', 'replay', 'life')
    {PREFIX}:heal    hash, while healing: identity, deadline (µs of Redis' clock), entry, known and size (the required
                     minimum), p:SERVER -> end of its lease (µs), accepted -> who accepted less than that

Versions are compared as strings for equality, and as numbers below 10¹⁵ for order. No script reads a value, so
quantities never become Lua's doubles.
"""

import hashlib
from typing import Any, Final

_COMMON: Final = """
-- KNOWN is the number of notes, plus this step for every time that an operator accepted an incomplete history.
local ACCEPTED_STEP = 1000000000
local LIFE, RECORD, NOTE, LOG, HEAL = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local function version(stored)
  if not stored then return '0' end
  local digits = string.match(stored, '^(%d+)[:-]')
  return digits and #digits <= 15 and digits or nil
end
local function whole(number) return string.format('%.0f', number) end
local function now_us()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end
local function read_state()
  return string.match(redis.call('GET', LIFE) or '', '^(%S+) (%d+) (%d+) (%d+) (%S+)$')
end
-- Make all servers heal, and keep the required minimum of records and notes.
local function mark_damaged()
  local epoch, size, notes, known, entry = read_state()
  if epoch then redis.call('SET', LIFE, table.concat({'damaged', size, notes, known, entry}, ' ')) end
end
-- EPOCH, KNOWN and ENTRY of a whole state; nil when a key is missing or was changed by somebody else.
local function whole_state()
  local epoch, size, notes, known, entry = read_state()
  if not epoch or redis.call('HLEN', RECORD) ~= tonumber(size) or redis.call('HLEN', NOTE) ~= tonumber(notes)
    or redis.call('XLEN', LOG) == 0 then return nil end
  return epoch, tonumber(known), entry
end
local blob, writes = {}, {}
local function write(field, stored)
  writes[#writes + 1] = {field, stored}
  blob[#blob + 1] = struct.pack('<I4', #field) .. field .. struct.pack('<I4', #stored) .. stored
end
-- Append an entry to the log, then write its records: if the log takes no entry, nothing changes.
local function append(kept, before, known, how, notes, digest, is_healing)
  local is_new = notes ~= '' and redis.call('HEXISTS', NOTE, digest) == 0
  -- Notes that are restored in a healing are counted at its end.
  if is_new and not is_healing then known = known + 1 end
  local entry = redis.pcall('XADD', LOG, 'MAXLEN', '~', kept, '*', 'p', before, 'r', table.concat(blob), 'n', notes,
    'k', whole(known), 'h', how)
  if type(entry) == 'table' then
    if not string.find(entry.err, 'item') then error(entry.err) end
    mark_damaged() -- the stream's last id is used up
    return nil
  end
  for _, one in ipairs(writes) do redis.call('HSET', RECORD, one[1], one[2]) end
  if is_new then redis.call('HSET', NOTE, digest, notes) end
  return entry, known
end
local function set_state(epoch, known, entry)
  local size, notes = redis.call('HLEN', RECORD), redis.call('HLEN', NOTE)
  redis.call('SET', LIFE, table.concat({epoch, size, notes, whole(known), entry}, ' '))
end
-- Where a server writes while healing: into the healing it takes part in, or (given an epoch) into a whole state.
local function target_of(epoch_or_identity, server, lease)
  if redis.call('HGET', HEAL, 'identity') == epoch_or_identity then
    redis.call('HSET', HEAL, 'p:' .. server, whole(now_us() + tonumber(lease)))
    return nil, tonumber(redis.call('HGET', HEAL, 'known')), redis.call('HGET', HEAL, 'entry')
  end
  local epoch, known, entry = whole_state()
  if epoch ~= epoch_or_identity then return false end
  return epoch, known, entry
end
local function advance(epoch, known, entry)
  if epoch then set_state(epoch, known, entry) else redis.call('HSET', HEAL, 'entry', entry) end
end
"""

# ARGV: epoch, entries to keep, notes, their digest, field and number of the outbox ('' for none), number of expected
# records; for each of them: field, version, new stored form (or only its version: the value stays); then for each other
# put: field, stored form without its version, '1' when it must not overwrite an existing record.
_COMMIT: Final = """
local epoch, known, before = whole_state()
if epoch ~= ARGV[1] then return {'fenced'} end
local outbox, number, expected = ARGV[5], ARGV[6], tonumber(ARGV[7])
local function damaged() mark_damaged() return {'fenced'} end
if outbox ~= '' then
  local last = version(redis.call('HGET', RECORD, outbox))
  if not last then return damaged() end
  if tonumber(last) >= tonumber(number) then return {'told'} end
end
local puts = 8 + 3 * expected
local found, kept, met = {}, {}, true
for e = 1, expected do
  local at = 5 + 3 * e
  kept[e] = redis.call('HGET', RECORD, ARGV[at])
  found[e] = version(kept[e])
  if not found[e] then return damaged() end
  met = met and found[e] == ARGV[at + 1]
end
if not met then return {'conflict', found} end
for e = 1, expected do
  local at = 5 + 3 * e
  local stored = ARGV[at + 2]
  if not string.find(stored, '^%d+[:-]') then
    stored = stored .. (kept[e] and string.sub(kept[e], #found[e] + 1) or '-')
  end
  write(ARGV[at], stored)
end
local versions = {}
for at = puts, #ARGV, 3 do
  local last = version(redis.call('HGET', RECORD, ARGV[at]))
  if not last then return damaged() end
  if ARGV[at + 2] == '1' and last ~= '0' then
    versions[#versions + 1] = last
  else
    versions[#versions + 1] = whole(tonumber(last) + 1)
    write(ARGV[at], versions[#versions] .. ARGV[at + 1])
  end
end
if outbox ~= '' then write(outbox, number .. '-') end
local entry
entry, known = append(ARGV[2], before, known, '', ARGV[3], ARGV[4])
if not entry then return {'fenced'} end
set_state(epoch, known, entry)
return {'done', entry, versions}
"""

# EPOCH, KNOWN and ENTRY of a whole state; empty if it is not whole.
_WHOLE_STATE: Final = """
local epoch, known, entry = whole_state()
if not epoch then return {} end
return {epoch, whole(known), entry}
"""

# ARGV: identity, server, window µs, lease µs, KNOWN. Also deletes what prevents healing: keys of another type, and a
# log that takes no more entries.
_CLAIM: Final = """
for at, kind in ipairs({'string', 'hash', 'hash', 'stream', 'hash'}) do
  local found = redis.call('TYPE', KEYS[at]).ok
  if found ~= 'none' and found ~= kind then redis.call('DEL', KEYS[at]) end
end
local epoch, _, before = whole_state()
if epoch and string.sub(epoch, 1, #ARGV[1] + 1) == ARGV[1] .. '@' then return {'live', epoch, before} end
local now = now_us()
local deadline = redis.call('HGET', HEAL, 'deadline')
local function at_least(name, number)
  if tonumber(number) > tonumber(redis.call('HGET', HEAL, name) or '-1') then redis.call('HSET', HEAL, name, number) end
end
local _, size, _, known = read_state()
size, known = size or redis.call('HGET', HEAL, 'size') or '0', known or redis.call('HGET', HEAL, 'known') or '0'
if redis.call('HGET', HEAL, 'identity') ~= ARGV[1] or not deadline or not redis.call('HGET', HEAL, 'entry') then
  local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)
  if last[1] and tonumber(string.match(last[1][1], '^%d+')) > now / 1000 + 31536000000 then
    redis.call('DEL', LOG)
    last = {}
  end
  redis.call('DEL', HEAL)
  deadline = whole(now + tonumber(ARGV[3]))
  redis.call('HSET', HEAL, 'identity', ARGV[1], 'deadline', deadline, 'entry', last[1] and last[1][1] or '0-0')
end
redis.call('SET', LIFE, 'healing')
at_least('size', size)
at_least('known', known)
at_least('known', ARGV[5])
redis.call('HSET', HEAL, 'p:' .. ARGV[2], whole(now + tonumber(ARGV[4])))
return {'healing', ARGV[1] .. '@' .. deadline, redis.call('HGET', HEAL, 'entry')}
"""

# ARGV: cursor, count. Returns a page of the digests of NOTE.
_DIGESTS: Final = """
local page = redis.call('HSCAN', NOTE, ARGV[1], 'COUNT', ARGV[2])
local digests = {}
for at = 1, #page[2], 2 do digests[#digests + 1] = page[2][at] end
return {page[1], digests}
"""

# ARGV: identity, server, lease µs, entries to keep; for each record: field, stored form.
_PUSH: Final = """
if redis.call('HGET', HEAL, 'identity') ~= ARGV[1] then return {'again'} end
local _, known, before = target_of(ARGV[1], ARGV[2], ARGV[3])
for at = 5, #ARGV, 2 do
  local field, stored = ARGV[at], ARGV[at + 1]
  local last = version(redis.call('HGET', RECORD, field)) or '0'
  if tonumber(last) < tonumber(version(stored)) then write(field, stored) end
end
if #blob > 0 then
  local entry
  entry, known = append(ARGV[4], before, known, 'push', '', '', true)
  if not entry then return {'again'} end
  advance(nil, known, entry)
end
return {'done'}
"""

# ARGV: identity (or the epoch, when the state is whole), server, lease µs, entries to keep, notes, their digest; for
# each record of one change: field, stored form. The change is repeated if it follows on the current versions.
_REPLAY: Final = """
local epoch, known, before = target_of(ARGV[1], ARGV[2], ARGV[3])
if epoch == false then return {'again'} end
local present = true
for at = 7, #ARGV, 2 do
  if redis.call('HGET', RECORD, ARGV[at]) ~= ARGV[at + 1] then present = false end
end
if present and (ARGV[5] == '' or redis.call('HEXISTS', NOTE, ARGV[6]) == 1) then return {'done'} end
if not present then
  for at = 7, #ARGV, 2 do
    local follows = whole(tonumber(version(ARGV[at + 1])) - 1)
    if version(redis.call('HGET', RECORD, ARGV[at])) ~= follows then return {'conflict'} end
  end
  for at = 7, #ARGV, 2 do write(ARGV[at], ARGV[at + 1]) end
end
local entry
entry, known = append(ARGV[4], before, known, 'replay', ARGV[5], ARGV[6], not epoch)
if not entry then return {'again'} end
advance(epoch, known, entry)
return {'done'}
"""

# ARGV: identity, server, entries to keep, '1' when a history may begin here.
_FINISH: Final = """
if redis.call('HGET', HEAL, 'identity') ~= ARGV[1] then return {'again'} end
redis.call('HDEL', HEAL, 'p:' .. ARGV[2])
local now = now_us()
local deadline = redis.call('HGET', HEAL, 'deadline')
if tonumber(deadline) > now then return {'wait'} end
local all = redis.call('HGETALL', HEAL)
for at = 1, #all, 2 do
  if string.sub(all[at], 1, 2) == 'p:' and tonumber(all[at + 1]) > now then return {'wait'} end
end
local known, held = tonumber(redis.call('HGET', HEAL, 'known')), redis.call('HLEN', NOTE)
local accepted = redis.call('HGET', HEAL, 'accepted')
local count = known % ACCEPTED_STEP
local lacking = math.max(0, tonumber(redis.call('HGET', HEAL, 'size')) - redis.call('HLEN', RECORD))
if lacking + math.max(0, count - held) > 0 and not accepted then
  return {'incomplete', whole(math.max(0, count - held)), whole(lacking)}
end
if held < count then
  known = known - count + ACCEPTED_STEP + held
elseif held > count then
  known = known - count + held
end
if known == 0 and redis.call('HLEN', RECORD) == 0 and ARGV[4] ~= '1' and not accepted then return {'empty'} end
if accepted then write('audit\\0history ' .. whole(now), '1:' .. accepted) end
local entry
entry, known = append(ARGV[3], redis.call('HGET', HEAL, 'entry'), known, 'life', '', '', true)
if not entry then redis.call('DEL', HEAL) return {'again'} end
local epoch = ARGV[1] .. '@' .. deadline
set_state(epoch, known, entry)
redis.call('DEL', HEAL)
return {'live', epoch, entry, known == 0 and 'new' or '', accepted or ''}
"""

# ARGV: identity, kind ('record' or 'note'); for each: field, its content. Deletes what can't be decoded; if the state
# is whole, makes all servers heal.
_DISCARD: Final = """
if redis.call('HGET', HEAL, 'identity') ~= ARGV[1] then
  mark_damaged()
  return {'again'}
end
local key = ARGV[2] == 'note' and NOTE or RECORD
for at = 3, #ARGV, 2 do
  if redis.call('HGET', key, ARGV[at]) == ARGV[at + 1] then redis.call('HDEL', key, ARGV[at]) end
end
return {'done'}
"""

# ARGV: who accepts the state as it is, and why. Returns the numbers of missing notes and records; empty: no healing.
_ACCEPT: Final = """
local known, size = redis.call('HGET', HEAL, 'known'), redis.call('HGET', HEAL, 'size')
if not known then return {} end
redis.call('HSET', HEAL, 'accepted', ARGV[1])
return {math.max(0, tonumber(known) % ACCEPTED_STEP - redis.call('HLEN', NOTE)),
  math.max(0, tonumber(size) - redis.call('HLEN', RECORD))}
"""


class Script:
    """A script and its keys."""

    def __init__(self, source: str, *keys: str) -> None:
        self.source = source
        self._keys = keys
        self._sha = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - Redis identifies scripts by SHA-1

    def head(self, prefix: str) -> tuple[Any, ...]:
        """The command that runs it, up to its arguments."""
        return ("EVALSHA", self._sha, len(self._keys), *(key_named(prefix, key) for key in self._keys))


def key_named(prefix: str, key: str) -> str:
    """A key of the state."""
    return f"{{{prefix}}}:{key}"


def _script(source: str) -> Script:
    return Script(_COMMON + source, "life", "record", "note", "log", "heal")


COMMIT: Final = _script(_COMMIT)
WHOLE_STATE: Final = _script(_WHOLE_STATE)
CLAIM: Final = _script(_CLAIM)
DIGESTS: Final = _script(_DIGESTS)
PUSH: Final = _script(_PUSH)
REPLAY: Final = _script(_REPLAY)
FINISH: Final = _script(_FINISH)
DISCARD: Final = _script(_DISCARD)
ACCEPT: Final = _script(_ACCEPT)
SCRIPTS: Final = (COMMIT, WHOLE_STATE, CLAIM, DIGESTS, PUSH, REPLAY, FINISH, DISCARD, ACCEPT)
EMPTY: Final = Script("return 1", "life")
"""Does nothing: the baseline of benchmarks."""
