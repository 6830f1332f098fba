-- ARGV: five for each count: as for reading, and the amount.

-- Whose login it is, if it is one. Servers of an older version do not tell.
local principal
for at = 1, #ARGV, 5 do
  if ARGV[at] == 'principal' then principal = ARGV[at + 2] end
end

-- Somebody has logged in from a new source. Where nobody tells whose it is, the oldest of more than there is room for goes; gives whether one went.
local function note_source(name, source)
  local sources, accounts = prefix .. 'sources:' .. name, prefix .. 'accounts:' .. source
  redis.call('HSET', sources, source, struct.pack('>I6', now) .. pack_count(0))
  local is_over = not principal and redis.call('HLEN', sources) > SOURCES
  if is_over then
    local all, oldest, when = redis.call('HGETALL', sources), nil, nil
    for at = 1, #all, 2 do
      local login = struct.unpack('>I6', all[at + 1])
      if all[at] ~= source and (not when or login < when) then oldest, when = all[at], login end
    end
    redis.call('HDEL', sources, oldest)
    redis.call('SREM', prefix .. 'accounts:' .. oldest, name)
  end
  redis.call('SADD', accounts, name)
  redis.call('PEXPIRE', sources, LOGINS)
  redis.call('PEXPIRE', accounts, LOGINS)
  return is_over
end

-- Of all that a principal has logged in under, from wherever. The oldest of more than there is room for go; gives whether any did. A directory has
-- thousands of ways to write one name: what is kept must not grow with them.
local function note_pair(name, source)
  local all, have_gone = prefix .. 'pairs:' .. principal, false
  redis.call('ZADD', all, now, name .. source)
  redis.call('PEXPIRE', all, LOGINS)
  while redis.call('ZCARD', all) > SOURCES do
    local oldest = redis.call('ZPOPMIN', all)[1]
    local of, from = string.sub(oldest, 1, 16), string.sub(oldest, 17, 32)
    redis.call('HDEL', prefix .. 'sources:' .. of, from)
    redis.call('SREM', prefix .. 'accounts:' .. from, of)
    have_gone = true
  end
  return have_gone
end

-- Whether it has logged in from there, under whichever name.
local function has_pair_from(source)
  for _, pair in ipairs(redis.call('ZRANGE', prefix .. 'pairs:' .. principal, 0, -1)) do
    if string.sub(pair, 17, 32) == source then return true end
  end
  return false
end

local function add_to_cells(counts, places, half_life, amount)
  local found = cells(counts, places)
  local own = faded(lowest(found, half_life), half_life)
  for row = 1, 4 do
    local level = faded(found[row], half_life)
    local changed
    if amount < 0 then
      changed = plus(level, amount)
    else
      changed = math.max(level, plus(own, amount))
    end
    -- A cell that is higher is somebody else's, and so is the time of it.
    if changed ~= level then
      redis.call('SETRANGE', counts, found[row].place, pack_count(changed))
    end
  end
  redis.call('PEXPIRE', counts, COUNTS)
end

-- A first good login takes a failure off its source: once for a pair, whichever server it comes to and however often that starts anew, once in a
-- half-life for a principal, not where another source is forgotten for it; and off the block no more than
-- off the source.
local account, left = nil, nil
for at = 1, #ARGV, 5 do
  local name, source = ARGV[at + 2], ARGV[at + 3]
  if ARGV[at] == 'logins' and tonumber(ARGV[at + 4]) > 0 then
    account, left = principal or name, 0
    local is_first = not known(name, source)
    if is_first then
      local was_there = principal and has_pair_from(source)
      is_first = not note_source(name, source) and not was_there
    end
    if principal and note_pair(name, source) then is_first = false end
    if is_first then left = nil end
  end
end

local function taken(places, half_life, amount)
  if not account then return amount end
  if not left then
    left = math.min(-amount, faded(lowest(cells(TABLES.count, places), half_life), half_life))
    if left > 0 and not redis.call('SET', prefix .. 'credited:' .. account, '', 'NX', 'PX', half_life) then left = 0 end
  end
  return -math.min(-amount, left)
end

for at = 1, #ARGV, 5 do
  local kind, half_life, a, b = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local amount = tonumber(ARGV[at + 4])
  if kind == 'count' or kind == 'exempt' then
    if amount < 0 then amount = taken(a, half_life, amount) end
    if amount ~= 0 then add_to_cells(TABLES[kind], a, half_life, amount) end
  elseif kind == 'total' then
    local level = faded(total(), half_life)
    redis.call('SET', prefix .. 'total', pack_count(plus(level, amount)), 'PX', COUNTS)
  elseif kind == 'known' then
    local name, source = string.sub(a, 1, 16), string.sub(a, 17, 32)
    local count = known(name, source)
    if count then
      local sources = prefix .. 'sources:' .. name
      local login = string.sub(redis.call('HGET', sources, source), 1, 6)
      if amount < 0 then
        login = struct.pack('>I6', now)
        redis.call('PEXPIRE', sources, LOGINS)
        redis.call('PEXPIRE', prefix .. 'accounts:' .. source, LOGINS)
      end
      redis.call('HSET', sources, source, login .. pack_count(plus(faded(count, half_life), amount)))
    elseif amount > 0 then
      -- What is cleared in a sketch may be somebody else's.
      add_to_cells(TABLES[kind], b, half_life, amount)
    end
  end
  -- Logins from a source, whoever's, and of a principal, follow from those above.
end
return {}
