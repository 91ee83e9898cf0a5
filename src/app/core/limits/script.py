"""The one atomic step of the rate limiter, run by Redis (Lua 5.1).

A bucket is a list of the times of its admissions in microseconds of Redis's clock, oldest first. It contains neither
limit nor period, so that a changed rule counts the admissions before the change. It keeps as many admissions as the
limit needs, at least `HISTORY_ENTRIES`, for as long as the period needs, at least `HISTORY_SECONDS`; an entry takes
about 10 bytes.

Admitting reads one entry: the one `limit` admissions ago. Counting what remains reads at most log2(limit) more.
A Redis that is full (`maxmemory`) still refuses what is over the limit; an admission, which it cannot store, fails.
"""

HISTORY_ENTRIES = 1000
HISTORY_SECONDS = 3600
NOTICE_SECONDS = 60

_ADMIT = """
local bucket, notice = KEYS[1], KEYS[2]
local limit, period = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000000
local kept_entries, kept_period = math.max(limit, history_entries), math.max(period, history_seconds * 1000000)

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
-- Two, where a call adds at most one: the list shrinks, and no call pays for many.
for _ = 1, 2 do
    if tonumber(redis.call('LINDEX', bucket, 0)) > now - kept_period then break end
    redis.call('LPOP', bucket)
end
local newest = admission(1)
redis.call('PEXPIRE', bucket, string.format('%.0f', math.ceil((newest + kept_period - now) / 1000)))

local notice_is_due = 0
if notice then
    -- A refusal is decided also where Redis is full, and this write is not.
    local marked = redis.pcall('SET', notice, '1', 'NX', 'EX', notice_seconds)
    if marked and marked.ok then notice_is_due = 1 end
end
-- One text, because a client takes longer over a list.
local reset = newest + period - now
return string.format('%d %.0f %.0f %.0f %d', admitted and 1 or 0, limit - known, reset, retry, notice_is_due)
"""


def admit_script(history_entries: int = HISTORY_ENTRIES, history_seconds: int = HISTORY_SECONDS) -> str:
    """Keys: the bucket, and where a notice is wanted its mark. Arguments: limit, and period in seconds.

    Returns five integers in one text: 1 or 0 for admitted, requests that remain, microseconds until the window is empty
    and until the next admission, 1 or 0 for a notice to be logged now.
    """
    constants = (history_entries, history_seconds, NOTICE_SECONDS)
    return "local history_entries, history_seconds, notice_seconds = {}, {}, {}".format(*constants) + _ADMIT
