-- Gives a lease back, if it is still the one that was taken.
-- KEYS[1] key; ARGV: what it was taken with.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
