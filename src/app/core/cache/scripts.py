"""What the cache does in Redis, each step one atomic script.

An entry is at its own key (`sample_data:7`). Around it, below `_cache:`, each with a time to live:

- `generation` and `generation:FAMILY`: see `app.core.cache.entries`.
- `lock:KEY` names the one request that may fill KEY, and the stamp under which it may.
- `writes:EPOCH:SCOPE` are the writes under way, during which nothing below SCOPE is filled.

Redis refuses a script for lack of memory only before its first write. So a fill begins by storing, and fails if there
is no room; a drop begins by deleting, and is carried out in any case.
"""

_COMMON = """
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- In a Cluster: which history of the data this server has. A replica that is promoted has another one.
local function here(epoch)
    if string.sub(epoch, -1) ~= '@' then return epoch end
    return epoch .. string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end
local function tag(generation) return string.sub(generation, 1, 16) .. '.' .. #generation end
local function stamp(epoch, family, everything)
    return epoch .. ' ' .. tag(family) .. ' ' .. tag(everything) .. '\\n'
end
"""

BEGIN_FILL = (
    _COMMON
    + """
local key, lock = KEYS[1], KEYS[2]
local token, patience, epoch = ARGV[1], ARGV[2], here(ARGV[3])
local function generation(at)
    local found = redis.call('GET', at)
    if found then return found end
    local name = string.sub(redis.sha1hex(token .. at), 1, 16)
    redis.call('SET', at, name, 'PX', patience)
    return name
end
for i = 5, #KEYS do
    if redis.call('ZCOUNT', KEYS[i], now(), '+inf') > 0 then return {'run'} end
end
local current = stamp(epoch, generation(KEYS[3]), generation(KEYS[4]))
local stored = redis.call('GET', key)
if stored and string.sub(stored, 1, #current) == current then return {'hit', current, stored} end
local holder = redis.call('GET', lock)
if holder == '-' then return {'run'} end
local mine = token .. current
if holder and holder ~= mine and string.sub(holder, #token + 1) == current then return {'wait'} end
redis.call('SET', lock, mine, 'PX', patience)
return {'fill', current}
"""
)
"""KEYS: entry, lock, its generations, writes...; ARGV: token, lock's ms, epoch.

Returns hit (with stamp and entry), fill (with the stamp), wait or run. A lock whose stamp is no longer the current one
is that of a fill which was invalidated, and is taken over.
"""

FINISH_FILL = (
    _COMMON
    + """
local key, lock = KEYS[1], KEYS[2]
local token, current, epoch, value, milliseconds = ARGV[1], ARGV[2], here(ARGV[3]), ARGV[4], tonumber(ARGV[5])
if redis.call('GET', lock) ~= token .. current then return 0 end
local family, everything = redis.call('GET', KEYS[3]), redis.call('GET', KEYS[4])
local is_current = family and everything and stamp(epoch, family, everything) == current
if not is_current then
    redis.call('DEL', lock)
    return 0
end
redis.call('SET', key, value, 'PX', milliseconds)
redis.call('DEL', lock)
for i = 3, 4 do
    if redis.call('PTTL', KEYS[i]) < milliseconds then redis.call('PEXPIRE', KEYS[i], milliseconds) end
end
return 1
"""
)
"""KEYS: entry, lock, its generations; ARGV: token, stamp, epoch, value, ms.

Stores only while the token holds the lock and nothing was dropped since. The generations live at least as long as the
entry.
"""

GIVE_UP_FILL = """
if redis.call('GET', KEYS[1]) == ARGV[1] .. ARGV[2] then redis.call('SET', KEYS[1], '-', 'PX', 100) end
"""
"""KEYS: lock; ARGV: token, stamp. Waiting requests then run the endpoint at once, instead of one after the other."""

INVALIDATE = (
    _COMMON
    + """
local token, milliseconds, dropped, writes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if dropped > 0 then redis.call('DEL', unpack(KEYS, 1, dropped)) end
local time = milliseconds > 0 and now()
for i = dropped + 1, dropped + writes do
    if time then
        redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', time)
        redis.call('ZADD', KEYS[i], time + milliseconds, token)
        redis.call('PEXPIRE', KEYS[i], milliseconds)
    else
        redis.call('ZREM', KEYS[i], token)
    end
end
for i = dropped + writes + 1, #KEYS do
    local length = redis.call('STRLEN', KEYS[i])
    if length > 4096 then
        redis.call('DEL', KEYS[i])
    elseif length > 0 then
        redis.call('APPEND', KEYS[i], '\\n' .. ARGV[4 + i - dropped - writes])
    end
end
return 1
"""
)
"""KEYS: entries, locks and generations to delete; announcements; generations that a pattern is appended to.
ARGV: token, ms (0 at the end of a write), the numbers of the first two kinds of keys, then the patterns. A generation
of more than 4 KiB is deleted, which drops the whole family.
"""

READ_IN_CLUSTER = (
    _COMMON
    + """
local stored, mark = redis.call('GET', KEYS[1]), here('@')
if stored then
    local at = string.find(stored, mark, 1, true)
    if at and at < string.find(stored, '\\n', 1, true) then
        stored = string.sub(stored, 1, at - 1) .. string.sub(stored, at + #mark)
    else
        stored = false
    end
end
return {stored, redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3])}
"""
)
"""KEYS: entry, its generations. Returns their values: the entry only if it is of this server's history, without it."""
