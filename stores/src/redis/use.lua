-- ARGV: the principal's hash, the chain, how many came before in it, when it began and when it ends (Unix seconds), for how many milliseconds
-- this is to be remembered, how many chains of a principal are, how many seconds clocks may differ by, and which secret names are hashed under.
local principal, chain, secret = ARGV[1], ARGV[2], ARGV[9]
local number, began, ends, keep, room, skew =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local seconds = math.floor(now / 1000)

-- A process that is started anew, or takes over from another, has what was written to disk or sent to it, and not what came last. One that evicts has
-- not even that. And under another secret marks would not be found.
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
local life = process .. ' ' .. evicted .. ' ' .. secret
local memory = redis.call('HMGET', prefix .. 'tickets', 'life', 'since')
local since, is_new = tonumber(memory[2]), 'kept'
if memory[1] ~= life or not since then
  since, is_new = seconds, 'new'
  redis.call('HSET', prefix .. 'tickets', 'life', life, 'since', since)
end
if principal == '' then return { 'first', is_new } end
if began <= since + skew then return { 'forgotten', is_new } end

local chains = prefix .. 'chains:' .. principal
local used = redis.call('HGET', chains, chain)
if used then
  if number <= tonumber(string.match(used, '^%d+')) then return { 'used', is_new } end
else
  local forgotten = redis.call('HGET', chains, 'forgotten')
  if forgotten and began <= tonumber(forgotten) then return { 'forgotten', is_new } end
end
redis.call('HSET', chains, chain, string.format('%.0f %.0f %.0f', number, began, ends))
if redis.call('PTTL', chains) < keep then redis.call('PEXPIRE', chains, keep) end
if not used and redis.call('HLEN', chains) > room then
  local all, alive = redis.call('HGETALL', chains), {}
  for at = 1, #all, 2 do
    if all[at] ~= 'forgotten' then
      local _, of, to = string.match(all[at + 1], '^(%d+) (%d+) (%d+)$')
      if tonumber(to) + skew < seconds then
        redis.call('HDEL', chains, all[at])
      else
        alive[#alive + 1] = { chain = all[at], began = tonumber(of) }
      end
    end
  end
  table.sort(alive, function(a, b) return a.began < b.began end)
  for at = 1, #alive - room do
    redis.call('HDEL', chains, alive[at].chain)
    redis.call('HSET', chains, 'forgotten', alive[at].began)
  end
end
return { 'first', is_new }
