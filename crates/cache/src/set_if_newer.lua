-- Stores an entry unless a newer one is there: a higher version, or the same version
-- vouched for at a later time.
-- KEYS[1] key; ARGV: entry, version, as_of in microseconds, seconds to live.
-- Entries start with {"version":…,"as_of":…,"seen":…, so that no JSON is parsed here.
--
-- A lower version also takes the place of a higher one that was known to be committed (seen) well before the
-- lower one was still the latest (as_of): then a crash has undone the higher one. The two seconds are for
-- clocks that do not agree.
local there = redis.call('GET', KEYS[1])
if there then
  local version, as_of = string.match(there, '^{"version":(%d+),"as_of":(%d+)')
  local seen = tonumber(string.match(there, '^{"version":%d+,"as_of":%d+,"seen":(%d+)'))
  version, as_of = tonumber(version), tonumber(as_of)
  local new_version, new_as_of = tonumber(ARGV[2]), tonumber(ARGV[3])
  local undone = version and version > new_version and seen and new_as_of > seen + 2000000
  if version and not undone
    and (version > new_version or (version == new_version and as_of >= new_as_of)) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
return 1
