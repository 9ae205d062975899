import { assertKnownOptions, assertText, wrongUseError } from '../core/options.ts'
import type { EventDefinition, PayloadOf } from '../define/event.ts'
import { assertEventDefinition } from '../define/event.ts'

/** What an event says beside its payload. */
export interface PublishOptions {
  /** Identifies the event; consumers' idempotency keys are made of it. Default: a random UUID. */
  readonly eventId?: string
  readonly aggregateType?: string
  readonly aggregateId?: string
  readonly tenantId?: string
  /** Default: now. A string must be ISO 8601. */
  readonly occurredAt?: Date | string
  /** W3C trace context. */
  readonly traceparent?: string
}

/** The arguments of `publish`, as one tuple. */
export type Publication<Definition extends EventDefinition = EventDefinition> = readonly [
  event: Definition,
  payload: PayloadOf<Definition>,
  options?: PublishOptions | undefined,
]

/** One event of `publishMany`, checked but for its payload. */
export interface EventDraft {
  readonly event: EventDefinition
  readonly payload: unknown
  readonly options: PublishOptions
  readonly eventId: string
}

const PUBLISH_TEXTS = ['eventId', 'aggregateType', 'aggregateId', 'tenantId', 'traceparent'] as const
const PUBLISH_OPTIONS = [...PUBLISH_TEXTS, 'occurredAt']

const NO_OPTIONS: PublishOptions = {}

/** @throws {TypeError} No publication, no event, or an option that is unknown or none. */
export function checkPublication(action: string, publication: Publication): EventDraft {
  if (!Array.isArray(publication)) {
    throw wrongUseError(action, `every publication must be [event, payload, options?], got ${typeof publication}`)
  }
  const [event, payload, options = NO_OPTIONS] = publication as Publication
  assertEventDefinition(action, event)
  if (options !== NO_OPTIONS) checkPublishOptions(action, options)
  return { event, payload, options, eventId: options.eventId ?? crypto.randomUUID() }
}

function checkPublishOptions(action: string, options: PublishOptions): void {
  assertKnownOptions(action, options, PUBLISH_OPTIONS)
  for (const name of PUBLISH_TEXTS) if (options[name] !== undefined) assertText(action, name, options[name])
}
