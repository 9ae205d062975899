import type { EventSourceOptions, EventSourceSettings } from '../../src/deploy/event-source.ts'
import { resolveEventSource } from '../../src/deploy/event-source.ts'
import type { InvokedFunction } from '../../src/deploy/resources.ts'
import { logicalIdReferences } from '../../src/deploy/resources.ts'

/** Settings of group `billing` on stream `orders`. */
export function someSettings(options: Partial<EventSourceOptions> = {}): EventSourceSettings {
  return resolveEventSource('deploy', { stream: 'orders', group: 'billing', ...options })
}

/** A function of a template, by the stem of its ids. */
export function aTarget(id: string): InvokedFunction {
  const logicalId = `${id}LambdaFunction`
  return { id, name: logicalIdReferences.ref(logicalId), arn: logicalIdReferences.attribute(logicalId, 'Arn') }
}
