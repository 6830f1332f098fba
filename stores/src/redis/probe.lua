-- Whether it takes writes. One that is a replica, or full, or can't save, answers what only reads, and none of what is counted stays.
redis.call('SET', KEYS[1] .. 'probe', '', 'PX', 60000)
return {}
