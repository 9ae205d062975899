import type { Bytes } from '../../core/entry.ts'
import { isDay, readTime } from '../../core/iso-time.ts'

/** ISO 8601, with a space for its T and hours alone for its zone, as Python and PostgreSQL write it. */
const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?:Z|([+-]\d\d)(?::?(\d\d))?)?$/
/** Characters of the longest such text. */
const MOST = 40

/**
 * When an event occurred, in milliseconds since 1970; NaN where nobody can say. A time without a zone is UTC, a number the seconds or milliseconds that
 * `flatCodec` reads.
 */
export function occurredAtMs(value: Bytes): number {
  if (value.length > MOST) return Number.NaN
  const [, day, time, hours, minutes = '00'] = TIME.exec(readTime(String(value))) ?? []
  if (day === undefined || !isDay(day)) return Number.NaN
  return Date.parse(`${day}T${time}${hours === undefined ? 'Z' : `${hours}:${minutes}`}`)
}
