"""What is done in Redis in one step, as Lua. All times are microseconds of the server's clock.

A call is `submitted` by the decider, `started` by one worker and `ended` with its answer. `slot`:
its place among the last calls, of which `a`, `s` and `e` say when it began, had left and ended.
`holder`: the decider whose lease is the key `decider`; a call of any other is not started.
"""

NOW = "local t = redis.call('TIME'); local now = t[1] * 1000000 + t[2]\n"

# decider · owner, holder, ttl in ms → who holds it. The same owner takes over from itself: its
# folder is locked, so whoever held it is gone.
TAKE = """
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 34) ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ARGV[2]
"""

# decider · holder, ttl in ms → 0: another holds it; 1: still held; 2: taken anew
RENEW = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return held and 1 or 2
"""

# decider · holder
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

# limits, pace · limits as JSON, ages of recent calls ascending in time (oldest first)
SEED = (
    NOW
    + """
local is_known = redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('EXISTS', KEYS[2]) == 1
redis.call('SET', KEYS[1], ARGV[1])
if is_known then return 0 end
local limits, hold = cjson.decode(ARGV[1]), redis.call('HGET', KEYS[2], 'hold')
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'n', 0, 'next', 0, 'hold', hold or 0)
for i = 2, #ARGV do
  local at, slot = now - ARGV[i], (i - 2) % limits.size
  redis.call('HSET', KEYS[2], 'a' .. slot, at, 's' .. slot, at, 'e' .. slot, at)
  redis.call('HSET', KEYS[2], 'n', i - 1, 'next', at + limits.spacing)
end
return 1
"""
)

# decider, call · holder, ttl in s → whether it may be started
REGISTER = (
    NOW
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'state', 'submitted', 'at', now)
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""
)

# decider, call, limits, pace · holder, who starts it → {µs to wait, slot}; {-1}: not to be made.
# The same rule as etl/calls/pace.py.
START = (
    NOW
    + """
local limits = redis.call('GET', KEYS[3])
if redis.call('GET', KEYS[1]) ~= ARGV[1] or not limits then return {-1, 0} end
local state, by, slot = unpack(redis.call('HMGET', KEYS[2], 'state', 'by', 'slot'))
if state == 'started' and by == ARGV[2] then return {0, tonumber(slot)} end
if state ~= 'submitted' then return {-1, 0} end
limits = cjson.decode(limits)
local function read(name) return tonumber(redis.call('HGET', KEYS[4], name) or nil) end
local n, next_at = read('n') or 0, read('next') or 0
local opens = math.max(next_at, read('hold') or 0)
for _, window in ipairs(limits.windows) do
  if n >= window[1] then
    local old = (n - window[1]) % limits.size
    local left = read('e' .. old)
    if window[3] == 0 then left = read('s' .. old) or left end
    if not left then
      left = read('a' .. old) + limits.longest
      if now < left then return {5000, 0} end
    end
    opens = math.max(opens, left + window[2])
  end
end
if opens > now then return {math.ceil(opens - now), 0} end
slot = n % limits.size
redis.call('HSET', KEYS[2], 'state', 'started', 'by', ARGV[2], 'slot', slot, 'at', now)
redis.call('HSET', KEYS[4], 'n', n + 1, 'a' .. slot, now,
           'next', math.max(next_at, now - limits.spacing) + limits.spacing)
redis.call('HDEL', KEYS[4], 's' .. slot, 'e' .. slot)
return {0, slot}
"""
)

# pace · slot
SENT = NOW + "redis.call('HSET', KEYS[1], 's' .. ARGV[1], now)"

# call, pace, answer, ready · slot, call's id, answer, ttl in s. An answer to a call that was given
# up is kept too: it is paid for.
END = (
    NOW
    + """
if redis.call('HGET', KEYS[1], 'state') == 'ended' then return 0 end
redis.call('HSET', KEYS[2], 'e' .. ARGV[1], now)
redis.call('HSET', KEYS[1], 'state', 'ended')
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SET', KEYS[3], ARGV[3], 'EX', ARGV[4])
redis.call('RPUSH', KEYS[4], ARGV[2])
redis.call('EXPIRE', KEYS[4], ARGV[4])
return 1
"""
)

# call · µs of the longest call → what is known of a call whose answer has not come
GIVE_UP = (
    NOW
    + """
local state, at = unpack(redis.call('HMGET', KEYS[1], 'state', 'at'))
if not state then return 'lost' end
if state == 'ended' then return 'ended' end
if now - at < tonumber(ARGV[1]) then return 'under way' end
redis.call('DEL', KEYS[1])
return state == 'submitted' and 'unmade' or 'lost'
"""
)

# pace · µs
HOLD = (
    NOW
    + """
local hold = tonumber(redis.call('HGET', KEYS[1], 'hold') or '0')
redis.call('HSET', KEYS[1], 'hold', math.max(hold, now + ARGV[1]))
"""
)

# workers · name, µs after which one that was not heard of is gone
BEAT = (
    NOW
    + """
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
"""
)

# workers · µs → how many were heard of since
COUNT = NOW + "return redis.call('ZCOUNT', KEYS[1], now - ARGV[1], '+inf')"
