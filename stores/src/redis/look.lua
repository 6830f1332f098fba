-- ARGV: what names each secret that the asking server knows. Whether the memory of tickets is kept under one of them, or there is none. Nothing is written.
local secret = redis.call('HGET', prefix .. 'tickets', 'secret')
local said = secret and 'other secret' or 'ours'
for at = 1, #ARGV do
  if ARGV[at] == secret then said = 'ours' end
end
return { said }
