-- Whether it takes writes, and its user may do all that the other scripts do: each command once, of which nothing stays. Otherwise a login would find out.
local text, hash, set, sorted = KEYS[1] .. 'may:text', KEYS[1] .. 'may:hash', KEYS[1] .. 'may:set', KEYS[1] .. 'may:sorted'
-- There is no such key, so nothing is set.
redis.call('SET', text, '', 'XX', 'PX', 1)
redis.call('SETRANGE', text, 0, '')
redis.call('GET', text)
redis.call('GETRANGE', text, 0, 0)
redis.call('EXISTS', text)
redis.call('PTTL', text)
redis.call('PEXPIRE', text, 1)
redis.call('TIME')
redis.call('INFO', 'server')
-- If it may not take them away again, they end by themselves.
redis.call('HSET', hash, 'field', '')
redis.call('PEXPIRE', hash, 60000)
redis.call('HGET', hash, 'field')
redis.call('HMGET', hash, 'field')
redis.call('HLEN', hash)
redis.call('HGETALL', hash)
redis.call('HDEL', hash, 'field')
redis.call('SADD', set, 'member')
redis.call('PEXPIRE', set, 60000)
redis.call('SREM', set, 'member')
redis.call('ZADD', sorted, 1, 'member')
redis.call('PEXPIRE', sorted, 60000)
redis.call('ZCARD', sorted)
redis.call('ZRANGE', sorted, 0, -1)
redis.call('ZPOPMIN', sorted)
return {}
