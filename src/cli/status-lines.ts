import { PARKED_CONSUMER } from '../core/keys.ts'
import { formatBytes, formatCount, formatDuration, formatNumber } from '../core/words.ts'
import type {
  ConsumerInspection,
  DeliveryCounts,
  GroupInspection,
  Inspection,
  OldestPending,
  StreamInspection,
  Unknown,
} from '../operate/inspect/inspection.ts'
import { asideLines } from './aside-lines.ts'
import { delayLines } from './delay-lines.ts'
import { flowLines, flowNotes } from './flow-lines.ts'
import { keepingLines, keepingNotes } from './keeping-lines.ts'
import { orderLines, orderNotes, placeInOrderText } from './order-lines.ts'
import { pauseText } from './pause-text.ts'
import { setLines } from './set-lines.ts'
import { printable, printableName } from './text/printable.ts'
import type { Paint, TableCell, TableColumn } from './text/text.ts'
import { paint, tableLines } from './text/text.ts'

/** From this age on a pending entry is marked: what always fails is a dead letter by then. The alarms of a deployment go off there, too. */
const OLD_MS = 15 * 60_000

const UNKNOWN: TableCell = { text: '?', as: 'yellow' }
const NONE: TableCell = { text: '-', as: 'dim' }

const right = (title: string): TableColumn => ({ title, align: 'right' })
const COLUMNS: readonly TableColumn[] = [
  { title: 'group' },
  right('lag'),
  right('pending'),
  right('in hand'),
  right('set aside'),
  right('oldest pending'),
  right('consumers'),
  right('dead letters'),
  right('oldest'),
]

/** How an inspection is shown. */
export interface StatusDisplayOptions {
  /** More than one line per group. */
  readonly details?: boolean
  /** Default: as standard output shows colours. */
  readonly colour?: Paint
}

/** An inspection as lines for a terminal. */
export function statusLines(
  { at, streams, sets = [], incomplete, clock }: Inspection,
  look: StatusDisplayOptions = {},
): string[] {
  const { colour = paint } = look
  const lines = [
    ...sets.flatMap((set) => [...setLines(set, colour), '']),
    ...streams.flatMap((stream) => [...streamLines(stream, at, look), '']),
  ]
  if (streams.length === 0) lines.push('No streams', '')
  if (incomplete !== undefined) lines.push(colour('yellow', `There may be more streams: ${incomplete}`))
  if (clock === 'local') lines.push(colour('dim', 'Ages are by the clock of this machine: the server refuses TIME'))
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines
}

function streamLines(
  stream: StreamInspection,
  at: number,
  { details = false, colour = paint }: StatusDisplayOptions,
): string[] {
  const { groups, missingGroups, state } = stream
  const head = `${colour('bold', printableName(stream.stream))}  ${stateText(stream)}`
  const delayed = delayLines(stream.delays, colour).map((line) => `  ${line}`)
  if (state === 'missing' || state === 'other-type') return [head, ...delayed]
  const [titles = '', ...rows] = tableLines(COLUMNS, groups.map(groupCells), colour)
  const body = groups.flatMap((group, n) => [rows[n] ?? '', ...(details ? detailLines(group) : [])])
  if (details) body.push(...trimLines(stream), ...keepingLines(stream.keeping))
  const notes = [
    ...reasonLines('', stream.unknown),
    ...groups.flatMap(({ group, unknown }) => reasonLines(`${printableName(group)}: `, unknown)),
    ...groups.flatMap((group) => pauseLines(group, at)),
    ...groups.flatMap(flowNotes),
    ...groups.flatMap(orderNotes),
    ...keepingNotes(stream),
    ...missingGroups.map((name) => `no group ${printableName(name)}: its poller makes it when it first runs`),
  ]
  if (groups.length > 0) body.unshift(titles)
  else if (stream.unknown.groups === undefined && missingGroups.length === 0) body.push(colour('dim', 'no groups'))
  return [
    head,
    ...delayed,
    ...body.map((line) => `  ${line}`),
    ...notes.map((note) => `  ${colour('yellow', `! ${note}`)}`),
  ]
}

/** What of a stream may go, and whether anybody sees to it. */
function trimLines({ length = 0, entriesAdded, doneBeforeId }: StreamInspection): string[] {
  const lines: string[] = []
  if (length > 0 && entriesAdded === length) lines.push('nothing was ever trimmed or deleted')
  if (length > 0 && doneBeforeId !== undefined) lines.push(`all groups are done with what is before ${doneBeforeId}`)
  return lines
}

function stateText({ state, length, memoryBytes, firstAgeMs, lastAgeMs }: StreamInspection): string {
  if (state === 'missing') return 'no such stream'
  if (state === 'other-type') return 'not a stream'
  const parts = [
    length === undefined ? 'entries ?' : `${formatCount(length, 'entry', 'entries')}`,
    memoryBytes === undefined ? undefined : formatBytes(memoryBytes),
    firstAgeMs === undefined ? undefined : `first ${formatDuration(firstAgeMs)} ago`,
    lastAgeMs === undefined ? undefined : `last ${formatDuration(lastAgeMs)} ago`,
  ]
  return parts.filter((part) => part !== undefined).join(', ')
}

function groupCells(group: GroupInspection): TableCell[] {
  const { oldestPending, deadLetters, inHand, parked, order, pending, consumers = [], consumerCount } = group
  const held = consumers.filter(({ isLeased }) => isLeased).length
  return [
    printableName(group.group),
    lagCell(group),
    formatNumber(pending),
    inHand === undefined ? UNKNOWN : formatNumber(inHand),
    parked === undefined
      ? UNKNOWN
      : `${formatNumber(parked)}${order?.waiting ? `, ${formatNumber(order.waiting)} waiting` : ''}`,
    oldestPending === undefined ? (pending > 0 ? UNKNOWN : NONE) : oldCell(oldestPending.ageMs),
    held > 0 ? `${formatNumber(consumerCount)}, ${held} held` : formatNumber(consumerCount),
    deadLetters === undefined ? UNKNOWN : letterCell(deadLetters.length),
    deadLetters?.oldestAgeMs === undefined ? NONE : formatDuration(deadLetters.oldestAgeMs),
  ]
}

function lagCell({ lag, lagAtLeast }: GroupInspection): TableCell {
  if (lag !== undefined) return formatNumber(lag)
  return lagAtLeast === undefined ? UNKNOWN : { text: `${formatNumber(lagAtLeast)}+`, as: 'yellow' }
}

const oldCell = (ms: number | undefined): TableCell =>
  ms === undefined ? UNKNOWN : ms < OLD_MS ? formatDuration(ms) : { text: formatDuration(ms), as: 'yellow' }
const letterCell = (length: number): TableCell => (length === 0 ? '0' : { text: formatNumber(length), as: 'red' })

function detailLines({
  oldestPending,
  deliveries,
  consumers = [],
  undeliveredAgeMs,
  sinceLastSuccessMs,
  deadLetters,
  aside,
  order,
  flow,
  isOurs,
}: GroupInspection): string[] {
  const lines: string[] = []
  if (undeliveredAgeMs !== undefined)
    lines.push(`oldest undelivered  published ${formatDuration(undeliveredAgeMs)} ago`)
  if (oldestPending) lines.push(oldestText(oldestPending))
  if (deliveries) lines.push(deliveriesText(deliveries))
  if (sinceLastSuccessMs !== undefined) lines.push(`last success  ${formatDuration(sinceLastSuccessMs)} ago`)
  if (deadLetters?.trimmed) lines.push(`dead letters trimmed  ${formatNumber(deadLetters.trimmed)}, by their maxLength`)
  if (aside) lines.push(...asideLines(aside))
  if (order) lines.push(...orderLines(order))
  if (flow) lines.push(...flowLines(flow))
  lines.push(...consumers.map(consumerText))
  if (isOurs === false) lines.push('not a group of Millrace')
  return lines.map((line) => `  ${line}`)
}

function oldestText(oldest: OldestPending): string {
  const { id, consumerName, deliveryCount, isTrimmed, inOrder } = oldest
  const name = printableName(consumerName) || 'nobody'
  const trimmed = isTrimmed ? ', trimmed from the stream' : ''
  const place = inOrder ? `, ${placeInOrderText(inOrder)}` : ''
  return `oldest pending  ${id} of ${name}, delivery ${deliveryCount}, ${stateOfPending(oldest)}${trimmed}${place}`
}

function deliveriesText({ sampled, counts }: DeliveryCounts): string {
  const parts = Object.entries(counts).map(([times, entries]) => `${formatNumber(entries)} had ${times}`)
  return `deliveries of the oldest ${sampled}  ${parts.join(', ')}`
}

/** Parked are what failed, and what was handed back or redriven: of that the delivery does not count. */
function stateOfPending({ consumerName, deliveryCount, idleMs }: OldestPending): string {
  if (consumerName === PARKED_CONSUMER) return deliveryCount > 0 ? 'failed' : 'handed back'
  return idleMs === undefined ? 'released' : `idle ${formatDuration(idleMs)}`
}

function consumerText({ name, pending, idleMs, isLeased, leaseMs }: ConsumerInspection): string {
  const parts = [
    `${formatNumber(pending)} pending`,
    idleMs === undefined ? 'never read' : `idle ${formatDuration(idleMs)}`,
    isLeased
      ? `held${leaseMs === undefined ? '' : `, for ${formatDuration(leaseMs)} at most`}`
      : isLeased === false
        ? 'not held'
        : undefined,
  ]
  return `${printableName(name)}  ${parts.filter((part) => part !== undefined).join(', ')}`
}

function pauseLines({ group, paused = [] }: GroupInspection, at: number): string[] {
  const what = (type: string | undefined) =>
    `${printableName(group)}: ${type === undefined ? '' : `${printableName(type)} `}paused`
  return paused.map((pause) => `${what(pause.type)} ${pauseText(pause, at)}`)
}

const NAMES: Readonly<Record<string, string>> = {
  byCondition: 'what waits for a condition',
  byTime: 'what waits for its time',
  breakers: 'circuit breakers',
  limits: 'limits',
  order: 'what waits in order',
  consumers: 'consumers',
  delays: 'delayed events',
  keeping: 'owners of groups, and janitors',
  deadLetters: 'dead letters',
  groups: 'groups',
  isOurs: 'whose group it is',
  lag: 'lag',
  leases: 'leases',
  length: 'length',
  memoryBytes: 'memory',
  oldestPending: 'oldest pending',
  paused: 'pauses',
  undeliveredAgeMs: 'what is undelivered',
}

/** A line a reason: most often one refusal is the reason of several. */
function reasonLines(prefix: string, unknown: Unknown): string[] {
  const byReason = Map.groupBy(Object.entries(unknown), ([, reason]) => reason)
  return [...byReason].map(
    ([reason, members]) => `${prefix}${members.map(([name]) => NAMES[name] ?? name).join(', ')}: ${printable(reason)}`,
  )
}
