import { schedulePeriodMs } from '../core/schedule-period.ts'
import type { Consumer, ConsumerSet } from '../define/consumer.ts'
import { resolveSettings } from '../define/consumer-settings.ts'
import { quotedValue } from '../errors.ts'
import { accessOf } from '../operate/plan/access.ts'
import type { PlanOptions } from '../operate/plan/options.ts'
import { type Plan, plan } from '../operate/plan/plan.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { planLines } from './plan-lines.ts'
import { loadConsumers } from './targets.ts'
import { UsageError } from './usage-error.ts'

const USAGE = `millrace plan [MODULE]... [--events-per-second N] [--handler-ms N] [--schedule 'rate(1 minute)'] [--pollers N] [--wakes] [--wakes-claimer]
              [--memory MB] [--timeout SECONDS] [--round-trip-ms N] [--backlog N] [--rate-limit N/SECONDS] [--entry-bytes N]
              [--max-length N | --retention-ms N] [--deduplicate-ms N] [--delay-ms N] [--maxmemory MB] [--lambda-gb-second PRICE] [--lambda-request PRICE]
              [--schedule-tick PRICE] [--redis-command PRICE] [--json]
millrace plan --acl MODULE...

Works out what consumers do and cost: latency, capacity, memory, commands and invocations in 30 days, and the price of what has a rate. Arithmetic
for events that come evenly, warm functions and nothing that fails; it connects to nothing.

  MODULE                    a file that exports consumers, as from defineConsumer (default: one with every setting at its default)
  --events-per-second N     published on average (default: 1)
  --handler-ms N            a handler takes (default: 50)
  --schedule RATE           wakes the functions (default: rate(1 minute))
  --pollers N               pollers that a tick wakes (default: 1)
  --wakes                   publishers wake the poller, as with wakePoller
  --wakes-claimer           pollers wake the claimer, as with wakeClaimer
  --memory MB               of each function (default: 512)
  --timeout SECONDS         of each function (default: 55)
  --round-trip-ms N         to Redis and back (default: 2)
  --backlog N               entries that wait: how long rate limits take for them, and what runs cost that wait for turns
  --rate-limit N/SECONDS    a rate limit of all routes, as 100/1, beside those that MODULE has
  --entry-bytes N           names and values of an entry, as millrace analyze counts them (default: 512)
  --max-length N            entries that publishers have each stream keep (default: 1000000)
  --retention-ms N          or for how long
  --deduplicate-ms N        publishers remember event ids for so long
  --delay-ms N              events are delayed for so long, on average over all of them
  --maxmemory MB            what Redis may use: shows the part of it, and what to lower
  --lambda-gb-second PRICE  and the other rates, in any one currency; what has no rate has no price
  --acl                     prints ACL users with what the consumers' functions need, policies' needs included, and nothing else
  --json                    for machines`

/** An option that takes a number, and what becomes of it. */
const NUMBERS = {
  'events-per-second': (value) => ({ eventsPerSecond: value }),
  'handler-ms': (value) => ({ handlerMs: value }),
  pollers: (value) => ({ pollers: value }),
  memory: (value) => ({ memoryMb: value }),
  timeout: (value) => ({ functionTimeoutMs: value * 1_000 }),
  backlog: (value) => ({ backlog: value }),
  'entry-bytes': (value) => ({ entryBytes: value }),
  'max-length': (value) => ({ maxLength: value }),
  'retention-ms': (value) => ({ retentionMs: value }),
  'deduplicate-ms': (value) => ({ deduplicateMs: value }),
  'delay-ms': (value) => ({ delayMs: value }),
  maxmemory: (value) => ({ maxmemoryMb: value }),
  'round-trip-ms': (value) => ({ roundTripMs: value }),
  'lambda-gb-second': (value) => ({ rates: { lambdaGbSecond: value } }),
  'lambda-request': (value) => ({ rates: { lambdaRequest: value } }),
  'schedule-tick': (value) => ({ rates: { schedule: value } }),
  'redis-command': (value) => ({ rates: { redisCommand: value } }),
} satisfies Readonly<Record<string, (value: number) => PlanOptions>>

type NumberName = keyof typeof NUMBERS

/**
 * `millrace plan`: prints what consumers do and cost.
 *
 * @throws {UsageError} The options are wrong.
 */
export async function run(args: readonly string[]): Promise<void> {
  const { values, positionals } = parse(args)
  if (values.help) return console.log(USAGE)
  const options = readOptions(values)
  // a consumer's module may insist on it, as the sample's does; nothing connects there
  process.env.REDIS_URL ??= 'redis://plan.invalid'
  const consumers = new Set((await Promise.all(positionals.map((file) => loadConsumers('plan', file)))).flat())
  // the members of a set are one
  const subjects = [...Map.groupBy(consumers, (consumer) => consumer.set?.share ?? consumer).values()]
  if (values.acl) return printUsers(subjects)
  const plans = subjects.length > 0 ? subjects.map((subject) => planOf(subject, options)) : [planOf(undefined, options)]
  if (values.json) return console.log(JSON.stringify(plans, undefined, 2))
  for (const [n, { stream, group, ...planned }] of plans.entries()) {
    if (n > 0) console.log()
    const name = stream === undefined ? 'A consumer' : `Group ${group} of stream ${stream}`
    for (const line of planLines(name, planned, options)) console.log(line)
  }
}

/** A line a user, as an ACL file has it but for the password: consumers of one group share theirs. */
function printUsers(subjects: readonly ConsumerSet[]): void {
  if (subjects.length === 0) throw new UsageError('millrace plan: --acl needs a MODULE')
  for (const those of Map.groupBy(subjects, (subject) => JSON.stringify(namesOf(subject))).values()) {
    const subject = those.flat()
    const { stream, group } = namesOf(subject)
    for (const [role, access] of Object.entries(accessOf(subject)))
      console.log(`user ${`${stream}-${group}-${role}`.replace(/\s/g, '-')} ${access}`)
  }
}

/** A set has its own name. */
function namesOf([first]: ConsumerSet): { readonly stream: string; readonly group: string } {
  const { stream, group, set } = first as Consumer
  return { stream: set?.name ?? stream, group }
}

interface NamedPlan extends Plan {
  readonly stream?: string
  readonly group?: string
}

function planOf(subject: ConsumerSet | undefined, options: PlanOptions): NamedPlan {
  try {
    if (subject === undefined) return plan(resolveSettings('plan', {}), options)
    return { ...namesOf(subject), ...plan(subject, options) }
  } catch (cause) {
    throw new UsageError(`millrace plan: ${(cause as Error).message}`, { cause })
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const numbers = Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, text]))
  const options = {
    ...(numbers as Record<NumberName, typeof text>),
    schedule: { type: 'string', default: 'rate(1 minute)' },
    wakes: flag,
    'wakes-claimer': flag,
    'rate-limit': text,
    acl: flag,
    json: flag,
    help: { type: 'boolean', short: 'h', default: false },
  } as const
  return parseCommandLine({ name: 'plan', usage: USAGE }, args, options)
}

type Values = Partial<Record<NumberName, string>> & {
  readonly schedule: string
  readonly wakes: boolean
  readonly 'wakes-claimer': boolean
  readonly 'rate-limit'?: string | undefined
}

function readOptions(values: Values): PlanOptions {
  const scheduleMs = schedulePeriodMs(values.schedule)
  if (scheduleMs === undefined)
    throw new UsageError(
      `millrace plan: --schedule must be a rate(…), as in 'rate(1 minute)', got ${quotedValue(values.schedule)}`,
    )
  let options: PlanOptions = {
    scheduleMs,
    wakes: values.wakes,
    wakesClaimer: values['wakes-claimer'],
    ...rateLimitOf(values['rate-limit']),
  }
  for (const [name, read] of Object.entries(NUMBERS)) {
    const text = values[name as NumberName]
    if (text === undefined) continue
    const { rates, ...others }: PlanOptions = read(numberOf(name, text))
    options = { ...options, ...others, ...(rates && { rates: { ...options.rates, ...rates } }) }
  }
  return options
}

function rateLimitOf(text: string | undefined): PlanOptions {
  if (text === undefined) return {}
  const [, max, seconds] = /^(\d{1,9})\/(\d{1,9}(?:\.\d{1,3})?)$/.exec(text) ?? []
  if (max !== undefined && Number(max) > 0 && Number(seconds) > 0)
    return { rateLimit: { max: Number(max), perMs: Math.round(Number(seconds) * 1_000) } }
  throw new UsageError(`millrace plan: --rate-limit must be N/SECONDS, as 100/1, got ${quotedValue(text)}`)
}

function numberOf(name: string, text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= 0 && value < Infinity) return value
  throw new UsageError(`millrace plan: --${name} must be a number, got ${quotedValue(text)}`)
}
