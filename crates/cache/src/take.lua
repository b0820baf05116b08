-- Takes from a bucket that fills at a steady rate (GCRA: what is kept is the time at which it will
-- be full again).
-- KEYS[1] bucket; ARGV: microseconds a unit, microseconds of a full bucket, least units wanted, most
-- units wanted, 1 to take them even if they are not there.
-- Answers: units taken (0: refused), units left, microseconds until it is full, microseconds until
-- the least wanted are there.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local unit, full = tonumber(ARGV[1]), tonumber(ARGV[2])
local least, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local at = tonumber(redis.call('GET', KEYS[1]) or now)
if at < now then at = now end
local left = math.floor((full - (at - now)) / unit + 0.000001)
local taken = math.min(most, math.max(left, 0))
if ARGV[5] == '1' then taken = most end
if taken < least or taken == 0 then
  local wait = at + least * unit - full - now
  return {0, math.max(left, 0), at - now, math.ceil(math.max(wait, 0))}
end
at = at + taken * unit
-- Not as a number: Lua would round it to 14 digits.
redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000) + 1)
return {taken, math.max(left - taken, 0), math.ceil(at - now), 0}
