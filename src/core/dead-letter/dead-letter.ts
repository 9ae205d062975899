import { InvalidPayloadError } from '../../errors.ts'
import { isoTime } from '../iso-time.ts'
import type { DeadLetterFacts } from '../outcome.ts'

/** Where a dead letter comes from. */
export interface DeadLetterOrigin {
  readonly stream: string
  readonly group: string
  readonly consumerName: string
  readonly entryId: string
  readonly deliveryCount: number
}

/** Error texts in a dead letter are cut at that many bytes. */
export const MAX_ERROR_BYTES = 8_192

/**
 * The fields of a dead letter up to `fieldCount`, name and value in turn, in their fixed order; `''` where there is nothing to say.
 * The server adds `fieldCount`, the number of the entry's own pairs, and then those pairs as they are.
 */
export function deadLetterHeadFields(origin: DeadLetterOrigin, facts: DeadLetterFacts): string[] {
  const error = errorTexts(facts.error, issuesOf)
  const head: Record<string, string | undefined> = {
    originalStream: origin.stream,
    originalId: origin.entryId,
    group: origin.group,
    consumer: origin.consumerName,
    eventId: facts.eventId,
    eventType: facts.eventType,
    schemaVersion: facts.schemaVersion?.toString(),
    reason: facts.reason,
    errorName: error.name,
    errorMessage: error.message,
    errorStack: error.stack,
    deliveryCount: String(origin.deliveryCount),
    lastDeliveredAt: isoTime(facts.lastDeliveredAt),
    failedAt: isoTime(facts.failedAt),
    traceparent: facts.traceparent,
  }
  return Object.entries(head).flatMap(([name, value]) => [name, value ?? ''])
}

/** What was thrown, as texts: handlers may throw anything, also what cannot be read. All empty if nothing was. */
export function errorTexts(
  error: unknown,
  detailOf: (error: object) => string = () => '',
): { name: string; message: string; stack: string } {
  if (error === undefined) return { name: '', message: '', stack: '' }
  try {
    const { name, message, stack } = (error ?? {}) as Record<string, unknown>
    if (typeof message !== 'string') return { name: typeof error, message: cut(asText(error)), stack: '' }
    return {
      name: cut(asText(name ?? 'Error')),
      message: cut(message + detailOf(error as object)),
      stack: cut(asText(stack ?? '')),
    }
  } catch {
    return { name: typeof error, message: 'a value that cannot be read', stack: '' }
  }
}

/** What was thrown, as an error whose message can be read: the thing itself if it is one. */
export function toReadableError(thrown: unknown): Error {
  const { message } = errorTexts(thrown)
  try {
    if (thrown instanceof Error && typeof thrown.message === 'string') return thrown
  } catch {} // then it is none
  return new Error(message)
}

/** What follows a message in a dead letter: what is listed and logged of one is no payload, so that of the schema's own words only those stand here that quote none. */
export function issuesOf(error: object): string {
  if (!(error instanceof InvalidPayloadError)) return ''
  const said = error.shown.flatMap(({ path, message }) =>
    message === undefined ? [] : [path === '' ? message : `${path}: ${message}`],
  )
  return said.length > 0 ? `: ${said.join('; ')}` : ''
}

function asText(value: unknown): string {
  return typeof value === 'object' ? (JSON.stringify(value) ?? typeof value) : String(value)
}

function cut(value: string): string {
  const bytes = Buffer.from(value)
  if (bytes.length <= MAX_ERROR_BYTES) return value
  let end = MAX_ERROR_BYTES
  while ((bytes[end] ?? 0) >> 6 === 0b10) end--
  return bytes.toString('utf8', 0, end)
}
