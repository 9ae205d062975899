import type { Bytes } from '../../core/entry.ts'

/** ISO 8601, or milliseconds since 1970. */
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:?\d\d)?$|^(\d{10,15})$/
/** Characters of the longest such text. */
const MOST = 40

/** When an event occurred, in milliseconds since 1970; NaN where nobody can say. A time without a zone is UTC. */
export function occurredAtMs(value: Bytes): number {
  if (value.length > MOST) return Number.NaN
  const [, time, zone = 'Z', ms] = TIME.exec(String(value)) ?? []
  if (ms !== undefined) return Number(ms)
  return time === undefined ? Number.NaN : Date.parse(time + zone)
}
