-- ARGV: what names each secret that the asking server knows. Whether the memory of tickets is kept under one of them, or there is none; and which. Nothing is written.
local secret = redis.call('HGET', prefix .. 'tickets', 'secret')
if not secret then return { 'ours' } end
for at = 1, #ARGV do
  if ARGV[at] == secret then return { 'ours', string.format('%d', at) } end
end
return { 'other secret' }
