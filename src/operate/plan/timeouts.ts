import type { Consumer } from '../../define/consumer.ts'
import type { ConsumerSettings } from '../../define/consumer-settings.ts'

/** A `handlerTimeoutMs` that handlers exceed. */
export interface ExceededTimeout {
  readonly handlerTimeoutMs: number
  /** The routes that have it; none where only settings were given. */
  readonly eventTypes: readonly string[]
}

/** The limits below the time that a handler takes, each with its routes. */
export function exceededTimeouts(subject: Consumer | ConsumerSettings, handlerMs: number): readonly ExceededTimeout[] {
  const limits =
    'routes' in subject
      ? [...subject.routes.values()].map(({ event, settings }) => ({ ...settings, eventTypes: [event.type] }))
      : [{ ...subject, eventTypes: [] }]
  const exceeded = limits.filter(({ handlerTimeoutMs }) => handlerMs > handlerTimeoutMs)
  return [...Map.groupBy(exceeded, ({ handlerTimeoutMs }) => handlerTimeoutMs)].map(([handlerTimeoutMs, those]) => ({
    handlerTimeoutMs,
    eventTypes: those.flatMap(({ eventTypes }) => eventTypes),
  }))
}
