/** Commands that may join an acknowledgement, and the type of key that each takes; '' any. None of them can be refused once type, right and memory are there. */
export const COMMANDS_JOINABLE_TO_ACK: Readonly<Record<string, string>> = {
  set: '',
  del: '',
  pexpire: '',
  sadd: 'set',
  srem: 'set',
  hset: 'hash',
  hdel: 'hash',
  zadd: 'zset',
  zrem: 'zset',
  xadd: 'stream',
}
