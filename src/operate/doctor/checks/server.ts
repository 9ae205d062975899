import { hashSlot } from '../../../core/keys.ts'
import { formatCount, formatDurationRoughly } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, infoResult, unknownResult, warningResult } from '../finding.ts'
import { compareVersions } from '../version.ts'

/** What a restart or a failover takes along. */
export const persistenceCheck = defineCheck({
  check: 'persistence',
  scope: 'server',
  needs: ['info', 'now'],
  look({ info: server, now }) {
    const { aof_enabled: aof, connected_slaves: replicas = '0' } = server
    if (aof === undefined)
      return [unknownResult('The server does not report how it persists', 'look it up where the server is managed')]
    const broken = refusingWrites(server)
    if (broken) return [broken]
    if (aof === '1') return []
    if (/amazon/i.test(server.os ?? '')) return [infoResult(...MANAGED)]
    const fix = 'turn the append-only file on: CONFIG SET appendonly yes, and in its configuration'
    if (Number(replicas) > 0)
      return [
        infoResult(
          `No append-only file; ${formatCount(Number(replicas), 'replica')}: a failover may lose the last writes`,
          fix,
        ),
      ]
    return [warningResult(`No append-only file and no replica${snapshotText(server, now)}`, fix)]
  },
})

/** A server that has written no snapshot gives its own start as the time of the last one; what it loaded then may be of any age. */
function snapshotText(server: Readonly<Record<string, string>>, now: number): string {
  const { rdb_last_save_time: saved, rdb_saves: saves, uptime_in_seconds: uptime } = server
  const ageMs = Math.max(0, now - Number(saved) * 1_000)
  // Redis before 7.0 shows only the times, in whole seconds
  const isStart = saves === undefined ? ageMs / 1_000 > Number(uptime) - 2 : saves === '0'
  if (saved === undefined || isStart)
    return `, and no snapshot since the server started ${formatDurationRoughly(Number(uptime) * 1_000)} ago: a restart loses at least what was written since`
  return `, the last snapshot ${formatDurationRoughly(ageMs)} old: a restart loses what was written since`
}

/** ElastiCache and MemoryDB, whose log is none of the server's own files. */
const MANAGED = [
  'The service keeps what survives the loss of a node, and INFO does not report how: MemoryDB and ElastiCache with Durability sync lose nothing, ' +
    'with async up to 10 s of writes, without it what was not replicated',
  "look up EffectiveDurability: aws elasticache describe-replication-groups; 'sync' needs Valkey 9 in cluster mode",
] as const

function refusingWrites(server: Readonly<Record<string, string>>): CheckResult | undefined {
  const failed = ['aof_last_write_status', 'rdb_last_bgsave_status'].filter((name) => server[name] === 'err')
  if (failed.length === 0) return undefined
  return errorResult(
    `${failed.join(' and ')} is err: the server cannot write to its disk, and may refuse writes (MISCONF)`,
    "see the server's log: its disk is full, or its directory not writable",
  )
}

const SKEW_MS = 60_000

/** Ids, ages and due times are the server's: nothing is lost by a wrong clock, but every age is wrong. */
export const serverClockCheck = defineCheck({
  check: 'clock',
  scope: 'server',
  needs: ['now'],
  look({ now }, { localNow }) {
    const skewMs = now - localNow
    if (Math.abs(skewMs) <= SKEW_MS) return []
    const way = skewMs > 0 ? 'ahead of' : 'behind'
    return [
      warningResult(
        `The server's clock is ${formatDurationRoughly(Math.abs(skewMs))} ${way} this machine's: ages and retention go by the server's`,
        "set the server's clock by NTP; then this machine's",
      ),
    ]
  },
})

/** A replica takes no acknowledgement. */
export const serverRoleCheck = defineCheck({
  check: 'role',
  scope: 'server',
  needs: ['info'],
  look({ info: server }) {
    if (server.role !== 'slave') return []
    return [
      errorResult('The server is a replica: it refuses every write (READONLY)', "connect to the primary's endpoint"),
    ]
  },
})

interface Flaw {
  readonly from: string
  readonly below: string
  readonly what: string
}

/** Of Redis; Valkey has versions of its own. */
const FLAWS: readonly Flaw[] = [
  { from: '8.2.0', below: '8.2.3', what: 'XACKDEL lets a client run code (CVE-2025-62507)' },
  ...['8.2.9', '8.4.6', '8.6.6', '8.8.2'].map((below) => ({
    from: below.replace(/\d+$/, '0'),
    below,
    what: 'XREADGROUP can be made to read keys that its user may not',
  })),
]

/** Below 6.2 nothing works, and the first two of 6.2 have bugs in what is new there; what is missing above is worked around. */
export const serverVersionCheck = defineCheck({
  check: 'version',
  scope: 'server',
  needs: ['info'],
  look({ info: server }) {
    if (server.valkey_version) return []
    const { redis_version: version } = server
    if (version === undefined)
      return [unknownResult('The server does not report its version', 'it must be Redis 6.2.2 or newer')]
    const fix = 'upgrade to Redis 6.2.2 or newer, or to Valkey'
    if (compareVersions(version, '6.2.0') < 0) return [errorResult(`Redis ${version} has no XAUTOCLAIM`, fix)]
    if (compareVersions(version, '6.2.2') < 0)
      return [
        errorResult(`Redis ${version} counts a delivery where XAUTOCLAIM has JUSTID, and trims too much by MINID`, fix),
      ]
    const flaws = FLAWS.filter(
      ({ from, below }) => compareVersions(version, from) >= 0 && compareVersions(version, below) < 0,
    )
    const patched = flaws.map(({ below, what }) =>
      warningResult(`Redis ${version}: ${what}`, `upgrade to ${below} or newer`),
    )
    return [...patched, ...missing(version)]
  },
})

function missing(version: string): CheckResult[] {
  const fix = 'nothing has to be done; with Redis 8, or Valkey, the numbers are known'
  if (compareVersions(version, '7.0.0') < 0)
    return [
      infoResult(
        `Redis ${version} reports no lag of ten entries and more, nor which pending entries were trimmed away`,
        fix,
      ),
    ]
  if (compareVersions(version, '8.0.0') < 0)
    return [infoResult(`Redis ${version} counts a lag too high once entries were trimmed that nobody had read`, fix)]
  return []
}

/** Where hash slots matter, a consumer's keys must still share one once the client has prefixed them. */
export const clusterKeysCheck = defineCheck({
  check: 'cluster',
  scope: 'server',
  needs: ['info', 'echo'],
  look({ info: server, echo }) {
    const { key, keySeen = key } = echo
    if (server.cluster_enabled !== '1' || !keySeen.endsWith(key)) return []
    const prefix = keySeen.slice(0, keySeen.length - key.length)
    const others = `${prefix}{${key}}`
    if (prefix === '' || key.includes('{') || hashSlot(keySeen) === hashSlot(others)) return []
    return [
      errorResult(
        `The server is a cluster, and the client's prefix ${quotedValue(prefix)} puts ${quotedValue(keySeen)} into another hash slot than ${quotedValue(others)}:…`,
        `leave keyPrefix out, or end it by a hash tag of its own, as in "{${prefix.replace(/\W+$/, '')}}:"`,
      ),
    ]
  },
})
