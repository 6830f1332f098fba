-- KEYS[1] is what all keys begin with. Redis's clock is the only one: servers need not agree on theirs.
local prefix = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- How long where somebody has logged in from is remembered: until a count that is halved each 30 days is a hundredth.
local LOGINS = 200 * 24 * 3600 * 1000
local SOURCES = 64
-- Counts are worth nothing a day after the last one.
local COUNTS = 24 * 3600 * 1000
-- No server's clock that is further ahead than this keeps tickets out until then.
local AHEAD = 3600 * 1000
local WIDTH, CELL = 65536, 10

local function faded(count, half_life)
  return count.level * 0.5 ^ ((now - count.at) / half_life)
end

local function plus(level, amount)
  return math.min(math.max(level + amount, 0), 1000000)
end

local function unpack_count(text)
  if not text or #text < CELL then return { level = 0, at = 0 } end
  local level, at = struct.unpack('>fI6', text)
  return { level = level, at = at }
end

local function pack_count(level)
  return struct.pack('>fI6', level, now)
end

-- This clock alone writes counts, so one from the future was made while it was wrong. It would not fade until then: it is one of now, from here on, also
-- where it is only read. What nobody adds to any more is to fade, too.
local function righted(count, keep)
  if count.at > now then
    count.at = now
    keep(pack_count(count.level))
  end
  return count
end

local function total()
  local count = unpack_count(redis.call('GET', prefix .. 'total'))
  return righted(count, function(packed) redis.call('SET', prefix .. 'total', packed, 'PX', COUNTS) end)
end

-- What is exempt has counts of its own, so that strangers elsewhere add nothing to them. Where nothing is exempt they are not there.
local TABLES = { count = prefix .. 'counts', known = prefix .. 'counts', exempt = prefix .. 'exempt' }

local function cells(counts, places)
  local found = {}
  local columns = { struct.unpack('>HHHH', places) }
  for row = 1, 4 do
    local at = ((row - 1) * WIDTH + columns[row]) * CELL
    local cell = righted(unpack_count(redis.call('GETRANGE', counts, at, at + CELL - 1)), function(packed)
      redis.call('SETRANGE', counts, at, packed)
    end)
    cell.place = at
    found[row] = cell
  end
  return found
end

-- A count-min sketch: a count is never too low, and no key costs memory.
local function lowest(found, half_life)
  local low = found[1]
  for row = 2, 4 do
    if faded(found[row], half_life) < faded(low, half_life) then low = found[row] end
  end
  return low
end

local function known(name, source)
  local text = redis.call('HGET', prefix .. 'sources:' .. name, source)
  if not text or #text < 6 + CELL then return nil end
  -- Other sources of the account may have kept the whole of it.
  if now - struct.unpack('>I6', text) > LOGINS then return nil end
  return righted(unpack_count(string.sub(text, 7)), function(packed)
    redis.call('HSET', prefix .. 'sources:' .. name, source, string.sub(text, 1, 6) .. packed)
  end)
end
