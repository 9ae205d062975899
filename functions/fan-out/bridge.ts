import type { EventBridgeClient, PutEventsResultEntry } from '@aws-sdk/client-eventbridge'
import type { BatchContext, BatchEvent, BatchResponse } from 'millrace'
import { NonRetryableError, UnavailableError } from 'millrace'
import { askAws } from '../shared/ask-aws.ts'
import { eventBusName } from '../shared/env.ts'

/** What one request may hold: ten events, and 256 KB, of which envelopes take some. */
export const MAX_PER_REQUEST = { maxEvents: 10, maxBytes: 200_000 }

/** What the event itself is refused for. */
const FAULTS_OF_EVENT = ['InvalidArgument', 'MalformedDetail']

/** Codes for which the bus took no event at the moment, or takes none until somebody gives the right: such an event is handed back, at no delivery. */
const BUSY = /^(Throttling|Internal)/
const DENIED = /^(NotAuthorized|AccessDenied)/

// checked when the module loads
const EventBusName = eventBusName()
let client: EventBridgeClient | undefined

/**
 * Hands events on to EventBridge. A bus knows no duplicates: one whose answer was lost is sent again, with the same `detail.eventId`, by which whoever receives it knows it. Of ten events those that were not taken
 * come again, and no other.
 */
export async function forwardEvents(events: readonly BatchEvent[], { signal }: BatchContext): Promise<BatchResponse> {
  if (EventBusName === undefined) return {}
  const { EventBridgeClient, PutEventsCommand } = await import('@aws-sdk/client-eventbridge')
  client ??= new EventBridgeClient({ maxAttempts: 1 })
  const command = new PutEventsCommand({
    Entries: events.map(({ type, version, eventId, occurredAt, payload }) => ({
      EventBusName,
      Source: 'shop.orders',
      DetailType: type,
      Detail: JSON.stringify({ eventId, version, occurredAt, ...(payload as object) }),
    })),
  })
  const { Entries = [] } = await askAws('EventBridge', client.send(command, { abortSignal: signal }))
  return {
    batchItemFailures: events.flatMap(({ entryId }, n) => {
      const error = errorOf(Entries[n])
      return error ? [{ itemIdentifier: entryId, error }] : []
    }),
  }
}

/** What has no id was not taken, also where the answer is shorter than what was sent. */
function errorOf({ EventId, ErrorCode = 'no answer' }: PutEventsResultEntry = {}): Error | undefined {
  if (EventId) return undefined
  const message = `EventBridge did not take it: ${ErrorCode}`
  if (FAULTS_OF_EVENT.includes(ErrorCode)) return new NonRetryableError(message)
  const isLasting = DENIED.test(ErrorCode)
  return isLasting || BUSY.test(ErrorCode) ? new UnavailableError(message, { isLasting }) : new Error(message)
}
