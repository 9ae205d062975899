import type { DeadLetterFacts } from './outcome.ts'

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
export function deadLetterHead(origin: DeadLetterOrigin, facts: DeadLetterFacts): string[] {
  const error = describeError(facts.error)
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
    lastDeliveredAt: new Date(facts.lastDeliveredAt).toISOString(),
    failedAt: new Date(facts.failedAt).toISOString(),
    traceparent: facts.traceparent,
  }
  return Object.entries(head).flatMap(([name, value]) => [name, cut(value ?? '')])
}

function describeError(error: unknown): { name: string; message: string; stack: string } {
  if (error === undefined) return { name: '', message: '', stack: '' }
  if (error instanceof Error) return { name: error.name, message: error.message, stack: error.stack ?? '' }
  return { name: typeof error, message: asText(error), stack: '' }
}

// handlers may throw anything, also what cannot be turned into text
function asText(value: unknown): string {
  try {
    return typeof value === 'object' ? JSON.stringify(value) : String(value)
  } catch {
    return 'a value without text'
  }
}

function cut(value: string): string {
  if (value.length * 3 <= MAX_ERROR_BYTES) return value
  const bytes = Buffer.from(value)
  if (bytes.length <= MAX_ERROR_BYTES) return value
  let end = MAX_ERROR_BYTES
  while ((bytes[end] ?? 0) >> 6 === 0b10) end--
  return bytes.toString('utf8', 0, end)
}
