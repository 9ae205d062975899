import type { StreamSet } from '../define/stream-set.ts'
import type { StreamTrim } from '../group/connection.ts'
import type { EncodeSettings } from './encode-events.ts'

/** What a publisher publishes by, for whoever appends in its place. */
export interface PublishingSettings extends EncodeSettings {
  /** The stream, or the name of the set. */
  readonly stream: string
  readonly set?: StreamSet | undefined
  readonly trim: StreamTrim
  readonly deduplicateMs?: number | undefined
}

const SETTINGS = new WeakMap<object, PublishingSettings>()

/** Remembers what a publisher publishes by. @returns The publisher. */
export function withSettings<Publisher extends object>(publisher: Publisher, settings: PublishingSettings): Publisher {
  SETTINGS.set(publisher, settings)
  return publisher
}

/** What a publisher of `createPublisher` publishes by; `undefined` for anything else. */
export function settingsOf(publisher: object): PublishingSettings | undefined {
  return SETTINGS.get(publisher)
}
