import { DEAD_LETTER_NUMBER_OPTIONS, PUBLISHER_NUMBER_OPTIONS } from '../../../core/rows.ts'
import { formatBytes, formatNumber, MS_PER_UNIT } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import type { StreamInfo } from '../../../group/redis/commands/xinfo-stream.ts'
import { bytesEach, FULL, fixOf, type MemoryPart, type MemorySetting, measuredEntryBytes } from '../../sizing.ts'
import { defineCheck } from '../check.ts'
import { unknownResult, warningResult } from '../finding.ts'
import type { DeadLetterSize, StreamSize } from '../sizes.ts'

/** How far ahead the check looks where no window is known. */
const AHEAD_MS = MS_PER_UNIT.w
/** Fewer entries, and younger ones, say nothing of a rate. */
const ENOUGH = 100
const LONG_ENOUGH_MS = MS_PER_UNIT.h

const PART_WORDS: Readonly<Record<MemoryPart, string>> = {
  entries: 'entries',
  pending: 'pending',
  setAside: 'set aside',
  markers: 'markers of events',
  delays: 'delayed',
  deadLetters: 'dead letters',
}

/** Something of a stream: how much there is, and will be a week from now. */
interface Growth extends MemorySetting {
  readonly stream: string
  readonly now: number
  readonly ahead: number
  readonly bytesEach: number
}

/** What streams will take of the server at the rate so far, by which maxmemory is too small before it is full. */
export const sizingCheck = defineCheck({
  check: 'sizing',
  scope: 'server',
  needs: ['info', 'sizes'],
  look({ info: server, sizes }, { now }) {
    const [used, maxmemory] = [Number(server.used_memory), Number(server.maxmemory)]
    if (server.maxmemory === undefined || Number.isNaN(used))
      return [unknownResult('The server does not report its maxmemory', 'look it up where the server is managed')]
    const growths = sizes.flatMap((size) => growthsOf(size, now, server))
    const more = growths.reduce((sum, growth) => sum + (growth.ahead - growth.now) * growth.bytesEach, 0)
    const then = used + more
    if (maxmemory === 0 || more <= 0 || then <= FULL * maxmemory) return []
    const kept = growths.filter((growth) => growth.ahead > 0).map(textOf)
    const message =
      `At the rates so far ${formatBytes(Math.round(then))} will be in use, ${Math.round((100 * then) / maxmemory)} % of maxmemory, ` +
      `${formatBytes(maxmemory)}; now ${formatBytes(used)} are: ${kept.join(', ')}`
    return [warningResult(message, fixOf(growths, then, FULL * maxmemory))]
  },
})

function textOf({ stream, part, now, ahead, bytesEach, bytes }: Growth): string {
  const before = now === ahead ? '' : ` (now ${formatNumber(now)})`
  return `${formatNumber(ahead)} ${PART_WORDS[part]} of ${quotedValue(stream)}${before} × ${formatNumber(Math.round(bytesEach))} bytes = ${formatBytes(bytes)}`
}

function growthsOf(size: StreamSize, now: number, server: Readonly<Record<string, string>>): readonly Growth[] {
  const { stream, info, usageBytes, pending, setAside, inOrder, delayed, deadLetters, retentionMs } = size
  const entryBytes = measuredEntryBytes(usageBytes, info.length, pending, server)
  if (entryBytes === undefined) return []
  const each = { ...bytesEach(entryBytes, Math.min(1, inOrder / Math.max(1, setAside))), entries: entryBytes }
  const growth = (part: MemoryPart, before: number, after: number, name: string, value = after): Growth => {
    const [from, ahead] = [Math.round(before), Math.round(after)]
    return { stream, part, name, value, now: from, ahead, bytesEach: each[part], bytes: Math.round(ahead * each[part]) }
  }
  const perMs = rateOf(info, now)
  const entries = entriesAhead(size, perMs)
  const named = `of ${quotedValue(stream)}`
  const markers = markersOf(size, perMs, now)
  return [
    retentionMs === undefined
      ? growth('entries', info.length, entries, `maxLength of the publishers ${named}`)
      : growth('entries', info.length, entries, `retentionMs of the groups ${named}`, retentionMs),
    growth('pending', pending - setAside, pending - setAside, `maxPending ${named}`),
    growth('setAside', setAside, setAside, `maxParked ${named}`),
    growth('markers', markers.now, markers.ahead, `ttlMs of idempotent ${named}`, Math.max(0, ...size.markerMs)),
    growth('delays', delayed, delayed, `the delays ${named}`),
    ...deadLetters.map((letters) =>
      growth('deadLetters', letters.info.length, lettersAhead(letters, now), `deadLetters.maxLength ${named}`),
    ),
  ]
}

/** Entries that the stream will have. Where nothing was trimmed yet publishers do so at the default length, unless it is longer by now. */
function entriesAhead({ info, retentionMs }: StreamSize, perMs: number): number {
  const { length, entriesAdded } = info
  if (retentionMs !== undefined) return Math.max(length, perMs * retentionMs)
  if (entriesAdded !== length) return length
  const bound = PUBLISHER_NUMBER_OPTIONS.maxLength.default
  const unbounded = length + perMs * AHEAD_MS
  return length > bound ? unbounded : Math.min(unbounded, bound)
}

function lettersAhead({ info, maxLength = DEAD_LETTER_NUMBER_OPTIONS.maxLength.default }: DeadLetterSize, now: number) {
  return Math.max(info.length, Math.min(info.length + rateOf(info, now) * AHEAD_MS, maxLength))
}

/** Those of a stream that was trimmed are taken to be all there. */
function markersOf({ info, markerMs }: StreamSize, perMs: number, now: number): { now: number; ahead: number } {
  const ageMs = info.entriesAdded === info.length ? now - startOf(info) : Infinity
  const within = (ms: number) => markerMs.reduce((sum, ttlMs) => sum + perMs * Math.min(ttlMs, ms), 0)
  return { now: within(ageMs), ahead: within(Infinity) }
}

/** Entries a millisecond, from the first until now; 0 where that is not known. */
function rateOf(info: StreamInfo, now: number): number {
  const ageMs = now - startOf(info)
  return info.length < ENOUGH || !(ageMs >= LONG_ENOUGH_MS) ? 0 : info.length / ageMs
}

function startOf({ firstId = '' }: StreamInfo): number {
  return Number.parseInt(firstId, 10)
}
