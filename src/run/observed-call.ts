import { entryAgeMs } from '../core/entry.ts'
import type { Outcome } from '../core/outcome.ts'
import type { HandlerCall } from '../define/observe.ts'
import type { Job } from './job.ts'
import type { RunParts } from './parts.ts'
import type { PreparedEntry } from './prepare.ts'

/** What observers learn about a handler's call. */
export function toObservedCall(jobs: readonly Job[], { consumer, slot, clock, invocation }: RunParts): HandlerCall {
  const [first] = jobs as [Job]
  const { event, batching } = (first.prepared as PreparedEntry).route
  const now = clock.now()
  return {
    invocation,
    stream: consumer.stream,
    group: consumer.group,
    consumerName: slot.consumerName,
    eventType: event.type,
    isBatch: batching !== undefined,
    deliveries: jobs.map(({ id, deliveryCount, prepared }) => ({
      entryId: id,
      eventId: (prepared as PreparedEntry).event.eventId,
      deliveryCount,
      version: (prepared as PreparedEntry).decoded.version ?? 1,
      ageMs: entryAgeMs(id, now),
      traceparent: (prepared as PreparedEntry).event.traceparent,
    })),
  }
}

/** What observers get to see: how an entry is acknowledged is no concern of theirs. */
export function toldKind({ kind }: Outcome): Exclude<Outcome['kind'], 'ack-with' | 'duplicate'> {
  return kind === 'ack-with' || kind === 'duplicate' ? 'ack' : kind
}
