"""What the cache does in Redis, each step one atomic script.

An entry is at its own key (`sample_data:7`). Around it: `_cache:lock:KEY` names the one request that may fill KEY.
`_cache:index:FAMILY` holds the keys whose part before the first colon is FAMILY, in lexical order, and
`_cache:families` the families, so that a pattern finds its keys by their literal beginning however many others there
are; `_cache:expiry` says which of them may be forgotten. `_cache:write:EPOCH:SCOPE` holds the writes under way, during
which nothing below SCOPE may be filled.
"""

_COMMON = """
local FAMILIES, EXPIRY = '_cache:families', '_cache:expiry'
local function family_of(key) return string.match(key, '^[^:]*') end
local function index_of(key) return '_cache:index:' .. family_of(key) end
local function lock_of(key) return '_cache:lock:' .. key end
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function note(key, milliseconds)
    redis.call('ZADD', index_of(key), 0, key)
    redis.call('ZADD', FAMILIES, 0, family_of(key))
    redis.call('ZADD', EXPIRY, now() + milliseconds, key)
end
local function drop(key)
    redis.call('ZREM', index_of(key), key)
    return redis.call('DEL', key, lock_of(key))
end
local function forget(key)
    redis.call('ZREM', EXPIRY, key)
    redis.call('ZREM', index_of(key), key)
    if redis.call('EXISTS', index_of(key)) == 0 then redis.call('ZREM', FAMILIES, family_of(key)) end
end
local function beginning_with(set, prefix)
    if prefix == '' then return redis.call('ZRANGE', set, 0, -1) end
    return redis.call('ZRANGEBYLEX', set, '[' .. prefix, '[' .. prefix .. '\\255')
end
"""

BEGIN_FILL = (
    _COMMON
    + """
local key, tag, token, patience, epoch = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local stored = redis.call('GET', key)
if stored and string.sub(stored, 1, #tag) == tag then return {'hit', stored} end
for i = 5, #ARGV do
    local writes = '_cache:write:' .. epoch .. ':' .. ARGV[i]
    redis.call('ZREMRANGEBYSCORE', writes, '-inf', now())
    if redis.call('EXISTS', writes) == 1 then return {'run'} end
end
local holder = redis.call('GET', lock_of(key))
if holder == '-' then return {'run'} end
if holder then return {'wait'} end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', now(), 'LIMIT', 0, 20)) do
    forget(gone)
end
redis.call('SET', lock_of(key), token, 'PX', patience)
note(key, patience)
return {'fill'}
"""
)
"""KEYS: entry; ARGV: tag, token, lock's ms, epoch, scopes... Answers hit (and the entry), fill, wait or run."""

FINISH_FILL = (
    _COMMON
    + """
local key, token, value, milliseconds = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lock_of(key)) ~= token then return 0 end
redis.call('DEL', lock_of(key))
redis.call('SET', key, value, 'PX', milliseconds)
note(key, milliseconds)
return 1
"""
)
"""KEYS: entry; ARGV: token, value, ms. Stores only while the token still holds the lock: an invalidation takes it."""

GIVE_UP_FILL = (
    _COMMON
    + """
if redis.call('GET', lock_of(KEYS[1])) == ARGV[1] then redis.call('SET', lock_of(KEYS[1]), '-', 'PX', 100) end
"""
)
"""KEYS: entry; ARGV: token. Those who wait run the endpoint themselves, instead of one after the other."""

INVALIDATE = (
    _COMMON
    + """
local plan = cjson.decode(ARGV[1])
for _, key in ipairs(plan.keys) do drop(key) end
for _, pattern in ipairs(plan.patterns) do
    local family = string.match(pattern.prefix, '^([^:]*):')
    local families = family and {family} or beginning_with(FAMILIES, pattern.prefix)
    for _, each in ipairs(families) do
        for _, key in ipairs(beginning_with('_cache:index:' .. each, pattern.prefix)) do
            if string.find(key, pattern.lua) then drop(key) end
        end
    end
end
for _, scope in ipairs(plan.scopes) do
    local writes = '_cache:write:' .. plan.epoch .. ':' .. scope
    if plan.barrier > 0 then
        redis.call('ZADD', writes, now() + plan.barrier, plan.token)
        redis.call('PEXPIRE', writes, plan.barrier)
    else
        redis.call('ZREM', writes, plan.token)
    end
end
return 1
"""
)
"""ARGV: the plan as JSON; `barrier` in ms at the beginning of a write, 0 at its end."""
