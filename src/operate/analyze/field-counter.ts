import type { Bytes, Entry } from '../../core/entry.ts'
import { parseJsonKeepingLongIntegers } from '../../core/json-source.ts'
import type { FieldAnalysis } from './analysis.ts'
import type { ReadEntry } from './entry-reader.ts'
import { bytesAsText } from './field-names.ts'
import { FrequencyTable, type ResultScale } from './frequency-table.ts'
import { readJsonMember } from './read-json-member.ts'

const OF_PAYLOAD = 'payload.'

/** Counts the values of one field: of entries, else of their payloads. */
export class FieldCounter {
  readonly #name: string
  readonly #nameBytes: string
  /** Only of payloads. */
  readonly #isMember: boolean
  readonly #path: readonly string[]
  readonly #values = new FrequencyTable(() => undefined)
  #missing = 0
  #unreadable = 0

  constructor(name: string) {
    this.#name = name
    this.#nameBytes = bytesAsText(name)
    this.#isMember = name.startsWith(OF_PAYLOAD)
    this.#path = (this.#isMember ? name.slice(OF_PAYLOAD.length) : name).split('.')
  }

  add({ fields }: Entry, read: ReadEntry, weight: number): void {
    const value = this.#fieldOf(fields) ?? this.#memberOf(read)
    if (value === undefined) this.#missing += weight
    else if (value === UNREADABLE) this.#unreadable += weight
    else this.#values.add(value as Bytes, weight)
  }

  result(top: number, scale: ResultScale): FieldAnalysis {
    return {
      field: this.#name,
      ...this.#values.result(top, scale),
      missing: scale.count(this.#missing),
      unreadable: scale.count(this.#unreadable),
    }
  }

  #fieldOf(fields: Entry['fields']): Bytes | undefined {
    if (this.#isMember) return undefined
    for (const [name, value] of fields)
      if (name.length <= this.#nameBytes.length && bytesAsText(name) === this.#nameBytes) return value
    return undefined
  }

  #memberOf({ decoded, payload }: ReadEntry): Bytes | typeof UNREADABLE | undefined {
    if (decoded) return readJsonMember(decoded.payload, this.#path)
    if (payload === undefined) return undefined
    try {
      return readJsonMember(parseJsonKeepingLongIntegers(payload.toString()), this.#path)
    } catch {
      return UNREADABLE
    }
  }
}

/** The payload is no JSON. */
const UNREADABLE = Symbol('unreadable')
