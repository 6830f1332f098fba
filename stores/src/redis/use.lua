-- ARGV: the chain (none where this is a look at the memory alone), how many came before in it, when it began and when it ends (Unix seconds), how many chains
-- of a principal are remembered, how many seconds clocks may differ by, what the asking server's says (Unix seconds), which memory it asked last, if any, and
-- how many of the secrets that it knows are not retired. Then these, the current one first and those that are retired last: what names it, and the
-- principal's hash under it.
local chain, seen, live = ARGV[1], ARGV[8], tonumber(ARGV[9])
local number, began, ends, room, skew, clock =
  tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local current, principals, places = ARGV[10], {}, {}
for at = 10, #ARGV, 2 do
  principals[ARGV[at]], places[ARGV[at]] = ARGV[at + 1], (at - 8) / 2
end
local seconds = math.floor(now / 1000)

-- A process that is started anew, or takes over from another, has what was written to disk or sent to it, and not what came last. One that evicts has
-- not even that. One at an address that moves, there and back, knows nothing of what was used at the other. And under another secret marks would not
-- be found.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
local life = process .. ' ' .. evicted
local memory = redis.call('HMGET', prefix .. 'tickets', 'life', 'since', 'secret', 'before', 'changed')
local since, secret, before, changed = tonumber(memory[2]), memory[3], memory[4], tonumber(memory[5]) or 0
local place, state = places[secret], 'kept'
if memory[1] ~= life or not since then
  state = 'new'
elseif not place then
  state = 'other secret'
elseif seen ~= '' and seen ~= life then
  state = 'moved'
end
local is_live = place and place <= live
-- Redis's clock was ahead when this began, and is right now: nobody waits until then. Of what was used since, all marks are here; of before, no more is let in
-- than if all had been lost now. One of the two clocks that is behind changes nothing.
local latest = math.max(seconds, clock)
if state == 'kept' and math.max(since, changed) > latest + AHEAD / 1000 then
  since, changed = math.min(since, latest), math.min(changed, latest)
  redis.call('HSET', prefix .. 'tickets', 'since', since, 'changed', changed)
end
if state ~= 'kept' or not is_live then
  -- When a chain began is by the servers' clocks, so Redis's, where it is slow, would let in what was used before. But no server's clock that is
  -- years ahead may keep all out for as long.
  local from = math.max(seconds, math.min(clock, seconds + AHEAD / 1000))
  if state ~= 'kept' then
    since, before, changed = from, '', from
  else
    -- Of chains that began under the secret of before, marks are looked for under both. A third one would be one too many.
    if before and before ~= '' then since = math.max(since, changed) end
    before, changed = secret, from
  end
  if not is_live then secret = current end
  redis.call('HSET', prefix .. 'tickets', 'life', life, 'since', since, 'secret', secret, 'before', before, 'changed', changed)
end
local function answer(verdict)
  return { verdict, state, life, string.format('%d', places[secret]) }
end

if chain == '' then return answer('first') end
if began <= since + skew then return answer('forgotten') end

local looked = { principals[secret] }
if before and before ~= '' and began <= changed + skew then
  -- A server that does not know that secret can't tell what was used.
  if not principals[before] then return answer('forgotten') end
  looked[2] = principals[before]
end
for _, principal in ipairs(looked) do
  local used = redis.call('HGET', prefix .. 'chains:' .. principal, chain)
  if used then
    local last, to = string.match(used, '^(%d+) (%d+)$')
    if number <= tonumber(last) then return answer('used') end
    ends = math.max(ends, tonumber(to))
    break
  end
  local forgotten = redis.call('HGET', prefix .. 'chains:' .. principal, 'forgotten')
  if forgotten and began <= tonumber(forgotten) then return answer('forgotten') end
end
local chains, ages = prefix .. 'chains:' .. looked[1], prefix .. 'ages:' .. looked[1]
redis.call('HSET', chains, chain, string.format('%.0f %.0f', number, ends))
redis.call('ZADD', ages, began, chain)
-- By the clock that is behind: that server takes tickets for longer.
local keep = math.max(ends + skew - math.min(seconds, clock), 1) * 1000
if redis.call('PTTL', chains) < keep then
  redis.call('PEXPIRE', chains, keep)
  redis.call('PEXPIRE', ages, keep)
end
-- A few at a time, where there is less room than there was: everybody waits for this.
for _ = 1, 8 do
  if redis.call('ZCARD', ages) <= room then break end
  local oldest = redis.call('ZPOPMIN', ages)
  local of = redis.call('HGET', chains, oldest[1])
  local to = of and tonumber(string.match(of, '%d+$'))
  redis.call('HDEL', chains, oldest[1])
  -- Of one that has ended there is nothing to forget.
  if not to or to + skew >= seconds then redis.call('HSET', chains, 'forgotten', oldest[2]) end
end
return answer('first')
