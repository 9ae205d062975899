import { formatDuration, formatNumber } from '../core/words.ts'
import type {
  FirstOfKeyInspection,
  GroupInspection,
  KeyInspection,
  OrderInspection,
} from '../operate/inspect/inspection.ts'
import { cutText, printable, printableName } from './text/printable.ts'

/** Characters of a key that are shown. */
const KEY = 60

/** Characters of an error that are shown: all that are kept. */
const ERROR = 200

/** A key that waits for longer is a note, also without --details. The doctor warns after a day. */
const LONG_MS = 15 * 60_000

/** What waits in order, as lines for a terminal; none where nothing does. */
export function orderLines(order: OrderInspection): string[] {
  const { waiting, suspects, unplaced, unplacedAgeMs, longest = [], isSample = false } = order
  const lines: string[] = []
  const count = formatNumber(waiting)
  if (waiting > 0) {
    const shown = longest.length === 0 ? '' : `, of ${isSample ? 'those inspected ' : ''}the longest:`
    lines.push(`behind another of their key  ${count}${shown}`, ...longest.map((key) => `  ${keyText(key)}`))
  }
  if (suspects > 0) lines.push(`first of their key, and their process died  ${formatNumber(suspects)}, for a claimer`)
  if (unplaced > 0) {
    const age = unplacedAgeMs === undefined ? '' : `, the oldest published ${formatDuration(unplacedAgeMs)} ago`
    lines.push(`redriven, for the next poller  ${formatNumber(unplaced)}${age}`)
  }
  return lines
}

/** What needs a look: the key that has waited longest, if that is long. */
export function orderNotes({ group, order }: GroupInspection): string[] {
  const [key] = order?.longest ?? []
  if (!order || (key?.ageMs ?? 0) < LONG_MS || key === undefined) return []
  const all = order.waiting > key.waiting ? ` of ${formatNumber(order.waiting)}` : ''
  return [`${printableName(group)}: ${keyText(key, all)}`]
}

function keyText({ key, isCut, waiting, ageMs, first }: KeyInspection, of = ''): string {
  const age = ageMs === undefined ? '' : `, the oldest published ${formatDuration(ageMs)} ago`
  const count = `${formatNumber(waiting)}${of} wait${waiting === 1 && of === '' ? 's' : ''}`
  return `${keyName(key, isCut)}  ${count}${age}, behind ${firstText(first)}`
}

/** A key on one line, in quotation marks; cut where it is long. */
function keyName(key: string, isCut = false): string {
  const text = printable(cutText(key, KEY)).replaceAll('"', '\\"')
  return `"${text}${isCut && key.length <= KEY ? '…' : ''}"`
}

function firstText({ id, eventType, deliveryCount, isPaused, error, keyNow, ...first }: FirstOfKeyInspection): string {
  const type = eventType === undefined ? '' : ` ${printableName(eventType)}`
  const parts = [
    `${id}${type}`,
    deliveryCount ? `delivery ${deliveryCount}` : undefined,
    stateText(first),
    isPaused === true && first.condition?.reason !== 'paused' ? 'paused' : undefined,
    error === undefined ? undefined : `last error ${printable(cutText(error, ERROR))}`,
    keyNow === undefined ? undefined : `which has ${keyNow === '' ? 'no key' : `key ${keyName(keyNow)}`} by now`,
  ]
  return parts.filter((part) => part !== undefined).join(', ')
}

function stateText({ state, dueInMs = 0, condition, consumerName = '' }: Omit<FirstOfKeyInspection, 'id'>): string {
  if (state === 'time') return dueInMs > 0 ? `due in ${formatDuration(dueInMs)}` : `due for ${formatDuration(-dueInMs)}`
  if (state === 'suspect') return 'its process died, for a claimer'
  if (state === 'in-hand') return `in hand of ${printableName(consumerName) || 'nobody'}`
  if (state === 'dead-letter') return 'a dead letter, to be redriven or dropped'
  if (state === 'not-pending') return 'not pending'
  if (condition === undefined) return 'for a condition'
  return `for ${printableName(`${condition.reason} ${condition.what}`)}`
}

/** What an entry is within its key. */
export function placeInOrderText({ key, isBehind }: { readonly key: string; readonly isBehind: boolean }): string {
  return isBehind ? `waits behind another of key ${keyName(key)}` : `first of key ${keyName(key)}`
}
