import { isUtf8 } from 'node:buffer'
import { MalformedEntryError, quotedValue } from '../errors.ts'
import type { Bytes } from './entry.ts'

/** Text, exact or refused: bytes that are no UTF-8 would come out changed. */
export function exactText(bytes: Bytes, name: string | undefined): string {
  if (typeof bytes === 'string') return bytes
  const value = bytes.toString()
  if (value.includes('\uFFFD') && !isUtf8(bytes))
    throw new MalformedEntryError(`Field ${shownField(name)} must be UTF-8`)
  return value
}

export function shownField(name: string | undefined): string {
  return name === undefined ? 'of the payload' : quotedValue(name)
}

/** How many texts are kept at most, each in the place that its bytes say, and of how many bytes at most. */
const KEPT = { texts: 64, bytes: 64 } as const

const kept: ({ readonly bytes: Buffer; readonly text: string } | undefined)[] = Array.from(
  { length: KEPT.texts },
  () => undefined,
)

/** The same for what many entries say alike, as types and producers: to compare it with the last that had its place takes a fraction of the time of making it. */
export function sharedText(bytes: Bytes, name: string): string {
  if (typeof bytes === 'string') return bytes
  const { length } = bytes
  if (length === 0 || length > KEPT.bytes) return exactText(bytes, name)
  const place = (length + 7 * (bytes[0] as number) + 31 * (bytes[length - 1] as number)) % KEPT.texts
  const last = kept[place]
  if (last !== undefined && last.bytes.length === length && isSame(last.bytes, bytes)) return last.text
  const text = exactText(bytes, name)
  // a copy: what a client answers shares its memory with all that came with it
  kept[place] = { bytes: Buffer.from(bytes), text }
  return text
}

/** Whether bytes of equal length are the same; for a few of them a loop takes a third of the time of Buffer's own equals. */
export function isSame(a: Buffer, b: Buffer): boolean {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false
  return true
}
