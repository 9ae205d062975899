import { formatBytes, formatDuration } from '../core/words.ts'
import type { MemoryPlan } from '../operate/plan/memory.ts'
import { type PlanOptions, type ResolvedPlanOptions, resolvePlanOptions } from '../operate/plan/options.ts'
import type { Plan } from '../operate/plan/plan.ts'
import type { RateLimitPlan } from '../operate/plan/rate-limits.ts'
import type { ExceededTimeout } from '../operate/plan/timeouts.ts'
import { printableName } from './text/printable.ts'

/** A plan as a reader sees it. */
export function planLines(
  name: string,
  { latency, retries, capacity, timeouts, rateLimits, memory, month }: Plan,
  given: PlanOptions,
): string[] {
  const options = resolvePlanOptions(given)
  const { eventsPerSecond, handlerMs, scheduleMs, pollers, wakes, memoryMb, backlog } = options
  const woken = `${pollers === 1 ? 'a poller' : `${pollers} pollers`} every ${time(scheduleMs)}${wakes ? ' and when publishers wake it' : ''}`
  const used = Math.round(100 * capacity.used)
  const { poller, claimer, publisherCommands } = month
  const sum = (member: 'invocations' | 'gbSeconds' | 'redisCommands') => poller[member] + claimer[member]
  return [
    `${name}: ${amount(eventsPerSecond)} events/s, handlers of ${time(handlerMs)}, ${woken}, ${amount(memoryMb)} MB`,
    '',
    `Latency        mean ${time(latency.meanMs)}, worst ${time(latency.worstMs)}; after a crash at most ${time(latency.afterCrashMs)}`,
    `Retries        the first at most ${time(retries.firstMs)} late, others ${time(retries.laterMs)}; waiting takes at most ${amount(retries.waitingGbSeconds)} GB-seconds in 30 days`,
    `Capacity       ${amount(capacity.eventsPerSecond)} events/s, ${capacity.keepsUp ? `of which ${used} % are used` : 'less than come: THE STREAM GROWS'}`,
    ...timeouts.map((limit) => timeoutText(limit, handlerMs)),
    ...rateLimits.map((limit) => rateLimitText(limit, backlog)),
    ...memoryLines(memory, options),
    '',
    ...table([
      ['In 30 days', 'poller', 'claimer', 'publishers', 'sum'],
      row('Invocations', poller.invocations, claimer.invocations, undefined, sum('invocations')),
      row('GB-seconds', poller.gbSeconds, claimer.gbSeconds, undefined, sum('gbSeconds')),
      row(
        'Redis commands',
        poller.redisCommands,
        claimer.redisCommands,
        publisherCommands,
        sum('redisCommands') + publisherCommands,
      ),
    ]),
    ...priceLines(month.price),
  ]
}

function timeoutText({ handlerTimeoutMs, eventTypes }: ExceededTimeout, handlerMs: number): string {
  const of = eventTypes.length === 0 ? '' : ` of ${eventTypes.map(printableName).join(', ')}`
  return `Timeouts       handlers take ${time(handlerMs)}, handlerTimeoutMs${of} is ${time(handlerTimeoutMs)}: EVERY CALL TIMES OUT`
}

function rateLimitText(limit: RateLimitPlan, backlog: number): string {
  const { eventType, max, perMs, isByName, eventsPerSecond, used } = limit
  const of = eventType === undefined ? '' : ` of ${printableName(eventType)}`
  const share = used <= 1 ? `of which ${Math.round(100 * used)} % are used` : 'less than come: WHAT IS SET ASIDE GROWS'
  const head = `Rate limit     ${amount(max)} per ${time(perMs)}${of}${isByName ? ', for each name' : ''}: ${amount(eventsPerSecond)} events/s, ${share}, if all are under it`
  if (backlog === 0) return head
  const { backlogMs, backlogGbSeconds, backlogRedisCommands } = limit
  const span = backlogMs === Infinity ? 'never end; 30 days take' : `take ${formatDuration(backlogMs)},`
  return `${head}; ${amount(backlog)} that wait ${span} ${amount(backlogGbSeconds)} GB-seconds and ${amount(backlogRedisCommands)} commands`
}

const PARTS = [
  ['entries', 'entries'],
  ['pending', 'pending'],
  ['setAside', 'set aside'],
  ['markers', 'markers'],
  ['delays', 'delayed'],
  ['deadLetters', 'dead letters'],
] as const

/** What takes memory, and how much of maxmemory it is. */
function memoryLines(memory: MemoryPlan, { entryBytes, maxmemoryMb }: ResolvedPlanOptions): string[] {
  const parts = PARTS.filter(([part]) => memory[part].count > 0).map(([part, name]) => {
    const { count, bytes } = memory[part]
    const window = part === 'entries' ? ` of ${amount(entryBytes)} B (${formatDuration(memory.windowMs)})` : ''
    return `${amount(count)} ${name}${window} ${formatBytes(bytes)}`
  })
  const all = `Memory         at most ${formatBytes(memory.bytes)}${parts.length > 0 ? `: ${parts.join(', ')}` : ''}`
  if (memory.used === undefined || maxmemoryMb === undefined) return [all]
  const used = `${Math.round(100 * memory.used)} % of maxmemory, ${amount(maxmemoryMb)} MB`
  return [all, `               ${used}${memory.fix === undefined ? '' : `, IS TOO MUCH: ${memory.fix}`}`]
}

function priceLines({ lambda, schedules, redis }: Plan['month']['price']): string[] {
  const prices = { Lambda: lambda, schedules, Redis: redis }
  const known = Object.entries(prices).filter((entry): entry is [string, number] => entry[1] !== undefined)
  if (known.length === 0) return []
  const sum = known.reduce((total, [, price]) => total + price, 0)
  const parts = known.map(([name, price]) => `${name} ${money(price)}`)
  return ['', `Price          ${parts.join(', ')}; together ${money(sum)}`]
}

function row(name: string, ...numbers: (number | undefined)[]): string[] {
  return [name, ...numbers.map((number) => (number === undefined ? '' : amount(number)))]
}

/** Columns of numbers, side by side. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_cell, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)))
  return rows.map((cells) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(15) : cell.padStart((widths[column] ?? 0) + 2)))
      .join('')
      .trimEnd(),
  )
}

function time(ms: number): string {
  if (ms === Infinity) return 'without end'
  if (ms < 1_000) return `${amount(ms)} ms`
  return ms % 60_000 === 0 ? `${amount(ms / 60_000)} min` : `${amount(ms / 1_000)} s`
}

function amount(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 100 ? 2 : 0 })
}

function money(value: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 })
}
