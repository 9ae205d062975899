import { count } from '../../../core/words.ts'
import { quoted } from '../../../errors.ts'
import { check } from '../check.ts'
import { error, info, unknown, warning } from '../finding.ts'

const KEEP = 'set maxmemory-policy noeviction: CONFIG SET maxmemory-policy noeviction, or the parameter group'

/** Whatever may be evicted may be lost: the stream with all that is pending, the group, a lease. */
export const eviction = check({
  check: 'eviction',
  scope: 'server',
  needs: ['info'],
  look({ info: server }) {
    const { maxmemory_policy: policy, maxmemory = '0' } = server
    if (policy === undefined)
      return [unknown('The server does not report its maxmemory-policy', 'look it up where the server is managed')]
    if (policy === 'noeviction') return []
    const gone = Number(server.evicted_keys ?? 0)
    const seen = `maxmemory-policy is ${quoted(policy)}${gone > 0 ? `, and ${count(gone, 'key was', 'keys were')} evicted since the server started` : ''}`
    if (Number(maxmemory) === 0) return [info(`${seen}; nothing is evicted while maxmemory is 0`, KEEP)]
    if (policy.startsWith('allkeys-'))
      return [error(`${seen}: a full server may evict the stream, and with it the group and all that is pending`, KEEP)]
    return [
      warning(`${seen}: a full server may evict leases of slots, and streams that are given a time to live`, KEEP),
    ]
  },
})

const ALMOST = 0.9

/** A full server refuses events, dead letters and leases. */
export const memory = check({
  check: 'memory',
  scope: 'server',
  needs: ['info'],
  look({ info: server }) {
    const used = Number(server.used_memory)
    const most = Number(server.maxmemory)
    if (!(most > 0) || !(used > ALMOST * most)) return []
    return [
      warning(
        `${Math.round((100 * used) / most)} % of maxmemory are used: used_memory ${used}, maxmemory ${most} bytes`,
        'trim the streams (maxLength or retentionMs of createPublisher, deadLetters.maxLength), or take a larger server',
      ),
    ]
  },
})
