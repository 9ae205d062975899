import { formatCount } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import { errorResult, infoResult, unknownResult, warningResult } from '../finding.ts'

const KEEP = 'set maxmemory-policy noeviction: CONFIG SET maxmemory-policy noeviction, or the parameter group'

/** Whatever may be evicted may be lost: the stream with all that is pending, the group, a lease. */
export const evictionCheck = defineCheck({
  check: 'eviction',
  scope: 'server',
  needs: ['info'],
  look({ info: server }) {
    const { maxmemory_policy: policy, maxmemory = '0' } = server
    if (policy === undefined)
      return [
        unknownResult('The server does not report its maxmemory-policy', 'look it up where the server is managed'),
      ]
    if (policy === 'noeviction') return []
    const gone = Number(server.evicted_keys ?? 0)
    const seen = `maxmemory-policy is ${quotedValue(policy)}${gone > 0 ? `, and ${formatCount(gone, 'key was', 'keys were')} evicted since the server started` : ''}`
    if (Number(maxmemory) === 0) return [infoResult(`${seen}; nothing is evicted while maxmemory is 0`, KEEP)]
    if (policy.startsWith('allkeys-'))
      return [
        errorResult(`${seen}: a full server may evict the stream, and with it the group and all that is pending`, KEEP),
      ]
    return [
      warningResult(
        `${seen}: a full server may evict leases of slots, markers of duplicates, and streams that are given a time to live`,
        KEEP,
      ),
    ]
  },
})

const ALMOST = 0.9

/** A full server refuses events, dead letters and leases. */
export const memoryCheck = defineCheck({
  check: 'memory',
  scope: 'server',
  needs: ['info'],
  look({ info: server }) {
    const used = Number(server.used_memory)
    const most = Number(server.maxmemory)
    if (!(most > 0) || !(used > ALMOST * most)) return []
    return [
      warningResult(
        `${Math.round((100 * used) / most)} % of maxmemory are used: used_memory ${used}, maxmemory ${most} bytes`,
        'trim the streams (maxLength or retentionMs of createPublisher, deadLetters.maxLength), or take a larger server',
      ),
    ]
  },
})
