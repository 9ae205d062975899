import type { Bytes } from '../../core/entry.ts'
import type { AnalyzedFields } from './options.ts'

/** What a field says of an event. */
export type FieldRole = 'type' | 'payload' | 'producer' | 'occurredAt'

/** Names of fields as `publish` writes them, and as other systems do. */
const NAMES: Readonly<Record<FieldRole, readonly string[]>> = {
  type: ['eventType', 'event_type'],
  payload: ['payload'],
  producer: ['producer'],
  occurredAt: ['occurredAt', 'occurred_at'],
}

/** Says what fields are for, by names as bytes. */
export class FieldNames {
  readonly #roles = new Map<string, FieldRole>()
  readonly #longest: number

  constructor(fields: AnalyzedFields) {
    for (const [role, names] of Object.entries(NAMES) as [FieldRole, readonly string[]][]) {
      const own = fields[role]
      for (const name of own === undefined ? names : [own]) this.#roles.set(bytesAsText(name), role)
    }
    this.#longest = Math.max(...[...this.#roles.keys()].map((name) => name.length))
  }

  roleOf(name: Bytes): FieldRole | undefined {
    // no string is made of a name of a megabyte
    return name.length > this.#longest ? undefined : this.#roles.get(bytesAsText(name))
  }
}

/** A character per byte: the same for the same bytes, UTF-8 or not. */
export function bytesAsText(bytes: Bytes): string {
  return (typeof bytes === 'string' ? Buffer.from(bytes) : bytes).toString('latin1')
}
