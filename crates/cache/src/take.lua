-- Takes from a bucket that fills at a steady rate (GCRA: what is kept is the time at which it will
-- be full again), and counts what is used of a day's quota, where there is one.
-- KEYS[1] bucket, KEYS[2] count of the day if there is a quota.
-- ARGV: microseconds a unit (0: there is no bucket), microseconds of a full bucket, least units
-- wanted, most units wanted, 1 to take them even if they are not there; with a quota also: the quota,
-- units used since the caller told of them, units that the caller knows to be used by all, seconds
-- to keep the count.
-- Answers: units taken (0: refused), units left, microseconds until it is full, microseconds until
-- the least wanted are there, units used today. What is taken beyond the least is not counted
-- before it is used.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local unit, full = tonumber(ARGV[1]), tonumber(ARGV[2])
local least, most, forced = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'

local before, used, over = 0, 0, false
if KEYS[2] then
  local quota = tonumber(ARGV[6])
  before = tonumber(redis.call('GET', KEYS[2]) or 0)
  -- A Redis that lost its count, by a restart or for want of memory, is told it again.
  used = math.max(before + tonumber(ARGV[7]), tonumber(ARGV[8]))
  if not forced then
    over = used + least > quota
    -- Near the end of a quota little is taken together, so that little is used beyond it.
    most = math.max(least, math.min(most, math.floor((quota - used) / 100)))
  end
end

local at, left, taken, wait = now, 0, most, 0
if unit > 0 then
  at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now))
  left = math.max(0, math.floor((full - (at - now)) / unit + 0.000001))
  if not forced then taken = math.min(most, left) end
  if taken < least or taken == 0 then
    taken, wait = 0, math.max(at + least * unit - full - now, 0)
  end
end
if over then taken, wait = 0, 0 end
if taken > 0 and unit > 0 then
  at = at + taken * unit
  left = math.max(left - taken, 0)
  -- Not as a number: Lua would round it to 14 digits.
  redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000) + 1)
end
if KEYS[2] then
  if taken > 0 then used = used + (forced and taken or least) end
  if used > before then redis.call('SET', KEYS[2], string.format('%.0f', used), 'EX', ARGV[9]) end
end
return {taken, left, math.ceil(at - now), math.ceil(wait), used}
