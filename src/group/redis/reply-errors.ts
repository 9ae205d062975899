import { RedisReplyError } from '../../errors.ts'

/** What a server's refusal means. */
interface ReplyClass {
  /** It is gone in a moment: the refused command may be sent again. */
  readonly isPassing: boolean
  /** Milliseconds for which that may go on. */
  readonly passesWithinMs: number
  /** The client that met it will not do: another one signs in anew, and resolves the name again. */
  readonly endsClient: boolean
  /** The server hangs up with it: what was sent beside it was refused as well. */
  readonly hangsUp: boolean
  /** What to change; empty where the server's own words say it. */
  readonly advice: string
}

interface Row extends Partial<ReplyClass> {
  /** Of the server's text, without what a script puts around it. */
  readonly pattern: RegExp
  /** The code that decisions hang on, where a service has words of its own for it. */
  readonly code?: string
}

const LOGIN = { endsClient: true } as const
const PASSING = { isPassing: true } as const
/** As long as a hash slot moves key by key, half of a consumer's keys here and half there. */
const MOVING_MS = 10_000
const FULL = { code: 'OOM', advice: 'trim the streams, or take a larger server' } as const

/**
 * What servers say. Redis' own texts were run. Those of services were read, and not run:
 * Upstash's `DB capacity quota exceeded` and `max requests limit exceeded` in upstash.com/docs/redis/troubleshooting (db_capacity_quota_exceeded,
 * max_requests_limit), and the title of `max concurrent connections exceeded` there; Dragonfly's `Out of memory` in its src/facade/error.h;
 * ElastiCache's `OOM` in repost.aws/knowledge-center/oom-command-not-allowed-redis, for nodes; Redis Cloud's and Redis Software's `OOM` in
 * redis.io/docs/latest/develop/reference/errors/common/oom. Neither run nor looked up: ElastiCache Serverless, MemoryDB, KeyDB and Azure, which are
 * taken to say what Redis says.
 */
const ROWS: readonly Row[] = [
  {
    pattern: /^(NOAUTH\b|ERR operation not permitted\b|(ERR )?Protocol error: unauthenticated (multi)?bulk length)/i,
    code: 'NOAUTH',
    ...LOGIN,
    hangsUp: true,
    advice: 'put user and password into the URL, as in redis://<user>:<password>@<host>',
  },
  {
    pattern: /^WRONGPASS\b|^ERR invalid (username-)?password/i,
    ...LOGIN,
    advice: 'correct user and password',
  },
  {
    pattern: /^ERR .*(without any password configured|no password is set)/i,
    ...LOGIN,
    advice: 'leave the password out: this user has none',
  },
  {
    pattern: /^ERR (max number of clients|max concurrent connections|maxclients)/i,
    ...PASSING,
    endsClient: true,
    hangsUp: true,
  },
  {
    pattern: /^READONLY\b/,
    ...PASSING,
    endsClient: true,
    advice: "connect to the primary's endpoint",
  },
  // whoever waits hears that its primary became a replica
  { pattern: /^UNBLOCKED\b/, endsClient: true },
  { pattern: /^(LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|NOREPLICAS)\b/, ...PASSING },
  { pattern: /^TRYAGAIN\b/, ...PASSING, passesWithinMs: MOVING_MS },
  // of SELECT says `toSelectError` more
  {
    pattern: /^NOPERM\b(?!.*'select')|ACL failure in script|^(ERR )?The user executing the script can't/i,
    advice: 'poller and claimer need what millrace plan --acl MODULE prints, a publisher +xadd and +time on its stream',
  },
  {
    pattern: /^ERR .*cluster support disabled/i,
    advice: 'the server is no cluster: leave ?cluster out of the URL, or connect with Redis in place of Cluster',
  },
  {
    pattern: /^(MOVED|ASK|CROSSSLOT)\b/,
    advice: 'a cluster needs ?cluster in the URL, or connectIoredis(() => new Cluster([{ host, port }]))',
  },
  {
    pattern: /^ERR unknown command ['`]?(x(?!autoclaim)|eval|cluster)/i,
    advice: 'the server must be Redis 6.2 or newer, or Valkey; that of sentinels is redis+sentinel://',
  },
  {
    pattern: /unknown redis command called from|^ERR unknown command ['`]?xautoclaim/i,
    advice: 'the server must be Redis 6.2 or newer, or Valkey',
  },
  {
    pattern: /^OOM\b|^(ERR )?out of memory|^ERR db capacity quota exceeded|^ERR max (data|db|database) size/i,
    ...FULL,
  },
  { pattern: /^ERR max (daily )?requests? limit exceeded/i, advice: 'take a larger plan' },
]

const FINAL: ReplyClass = {
  isPassing: false,
  passesWithinMs: 2_000,
  endsClient: false,
  hangsUp: false,
  advice: '',
}

/** What a refusal means, by the server's text. */
export function classifyReplyError(text: string): ReplyClass {
  return { ...FINAL, ...rowOf(plain(text)) }
}

/** A refusal as ours: the code and the words of the server, the same whatever script it came from, and what to change. */
export function toReplyError(text: string): RedisReplyError {
  const said = plain(text)
  const { code, advice } = rowOf(said) ?? {}
  const coded = code && !said.startsWith(code) ? `${code} ${said}` : said
  return new RedisReplyError(advice ? `${coded.slice(0, 300).replace(/[.\s]+$/, '')}; ${advice}` : coded)
}

/** A refused SELECT as ours: the server's text says neither which setting it was nor what to do. @param setting What names the database. */
export function toSelectError(text: string, setting: string): RedisReplyError {
  const reply = toReplyError(text)
  const { advice } = classifyReplyError(text)
  const fix = 'the user needs +select, the server more databases; a cluster has only database 0'
  return advice ? reply : new RedisReplyError(`${reply.message.replace(/[.\s]+$/, '')}; ${setting} was refused: ${fix}`)
}

/** A text without what servers write around it when a script met it: digest, line, and from 6.2 on a dash. */
function plain(text: string): string {
  return text
    .replace(/^ERR Error (?:running|compiling) script \(.*?f_[0-9a-f]{40}\): /i, '')
    .replace(/^(?:@?user_script: ?\d+: ?)+-?/, '')
    .replace(/,? ?script: [0-9a-f]{40}, on @user_script:\d+\.?/g, '')
    .replace(/, with args beginning with:.*$/s, '')
}

function rowOf(said: string): Row | undefined {
  return ROWS.find(({ pattern }) => pattern.test(said))
}
