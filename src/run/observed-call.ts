import { ageOf } from '../core/entry.ts'
import type { HandlerCall } from '../define/observe.ts'
import type { Job } from './job.ts'
import type { RunParts } from './parts.ts'
import type { Prepared } from './prepare.ts'

/** What observers learn about a handler's call. */
export function describeCall(jobs: readonly Job[], { consumer, slot, clock, invocation }: RunParts): HandlerCall {
  const [first] = jobs as [Job]
  const { event, batching } = (first.prepared as Prepared).route
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
      eventId: (prepared as Prepared).event.eventId,
      deliveryCount,
      ageMs: ageOf(id, now),
      traceparent: (prepared as Prepared).event.traceparent,
    })),
  }
}
