-- ARGV: the principal's hash, the chain, how many came before in it, when it began and when it ends (Unix seconds), how many chains of a principal
-- are remembered, how many seconds clocks may differ by, what the asking server's says (Unix seconds), which memory it asked last, if any, and which
-- secret names are hashed under.
local principal, chain, seen, secret = ARGV[1], ARGV[2], ARGV[9], ARGV[10]
local number, began, ends, room, skew, clock =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local seconds = math.floor(now / 1000)

-- A process that is started anew, or takes over from another, has what was written to disk or sent to it, and not what came last. One that evicts has
-- not even that. One at an address that moves, there and back, knows nothing of what was used at the other. And under another secret marks would not
-- be found.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
local life = process .. ' ' .. evicted
local memory = redis.call('HMGET', prefix .. 'tickets', 'life', 'since', 'secret')
local since, state = tonumber(memory[2]), 'kept'
if memory[1] ~= life or not since then
  state = 'new'
elseif memory[3] ~= secret then
  state = 'other secret'
elseif seen ~= '' and seen ~= life then
  state = 'moved'
end
if state ~= 'kept' then
  -- When a chain began is by the servers' clocks, so Redis's, where it is slow, would let in what was used before. But no server's clock that is
  -- years ahead may keep all out for as long.
  since = math.max(seconds, math.min(clock, seconds + AHEAD / 1000))
  redis.call('HSET', prefix .. 'tickets', 'life', life, 'since', since, 'secret', secret)
end
if principal == '' then return { 'first', state, life } end
if began <= since + skew then return { 'forgotten', state, life } end

local chains, ages = prefix .. 'chains:' .. principal, prefix .. 'ages:' .. principal
local used = redis.call('HGET', chains, chain)
if used then
  local last, to = string.match(used, '^(%d+) (%d+)$')
  if number <= tonumber(last) then return { 'used', state, life } end
  ends = math.max(ends, tonumber(to))
else
  local forgotten = redis.call('HGET', chains, 'forgotten')
  if forgotten and began <= tonumber(forgotten) then return { 'forgotten', state, life } end
end
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
return { 'first', state, life }
