-- ARGV: four for each count: what it is, half of it is forgotten in so many milliseconds, and two hashes.
local answer = {}
for at = 1, #ARGV, 4 do
  local kind, half_life, a, b = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local count
  if kind == 'count' or kind == 'exempt' then
    count = lowest(cells(TABLES[kind], a), half_life)
  elseif kind == 'total' then
    count = total()
  elseif kind == 'known' then
    local name, source = string.sub(a, 1, 16), string.sub(a, 17, 32)
    count = known(name, source) or lowest(cells(TABLES[kind], b), half_life)
  elseif kind == 'logins' then
    count = { level = known(a, b) and 1 or 0, at = now }
  else
    count = { level = redis.call('EXISTS', prefix .. 'accounts:' .. a), at = now }
  end
  answer[#answer + 1] = string.format('%.9g', count.level)
  answer[#answer + 1] = string.format('%.0f', now - count.at)
end
return answer
