"""The one atomic step of the rate limiter, run by Redis (Lua 5.1).

A bucket is a list of its admissions' times in microseconds of Redis's clock, oldest first. It knows neither limit nor
period, so that a changed rule counts the admissions before the change. Kept are as many as the limit asks for, at
least `HISTORY_ENTRIES`, for as long as the period asks for, at least `HISTORY_SECONDS`; an entry takes about 10 bytes.

Admitting looks at one entry: the one `limit` admissions ago. Counting what remains takes at most log2(limit) more.
"""

HISTORY_ENTRIES = 1000
HISTORY_SECONDS = 3600
NOTICE_SECONDS = 60
STALE_ENTRIES_DROPPED = 2
"""Per call, which adds at most one: the list shrinks, and no call pays for many."""

ADMIT = """
local bucket, notice = KEYS[1], KEYS[2]
local limit, period = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000000
local kept_entries, kept_period = math.max(limit, tonumber(ARGV[3])), math.max(period, tonumber(ARGV[4]) * 1000000)
local notice_seconds, dropped = tonumber(ARGV[5]), tonumber(ARGV[6])

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- A clock that was set back must not put the list out of order.
now = math.max(now, tonumber(redis.call('LINDEX', bucket, -1) or 0))

local function admission(age)
    return tonumber(redis.call('LINDEX', bucket, -age))
end

local entries = redis.call('LLEN', bucket)
local known, unknown = 0, math.min(entries, limit) + 1
if unknown > 1 and admission(unknown - 1) > now - period then
    known = unknown - 1
end
while known < unknown - 1 do
    local middle = math.floor((known + unknown) / 2)
    if admission(middle) > now - period then known = middle else unknown = middle end
end

local admitted, retry = known < limit, 0
if admitted then
    redis.call('RPUSH', bucket, string.format('%.0f', now))
    known = known + 1
    if entries >= kept_entries then redis.call('LTRIM', bucket, -kept_entries, -1) end
else
    retry = admission(limit) + period - now
end
for _ = 1, dropped do
    if tonumber(redis.call('LINDEX', bucket, 0)) > now - kept_period then break end
    redis.call('LPOP', bucket)
end
local newest = admission(1)
redis.call('PEXPIRE', bucket, string.format('%.0f', math.ceil((newest + kept_period - now) / 1000)))

local announce = 0
if notice_seconds > 0 and redis.call('SET', notice, '1', 'NX', 'EX', notice_seconds) then announce = 1 end
return {admitted and 1 or 0, limit - known, newest + period - now, retry, announce}
"""
