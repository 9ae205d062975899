import type { Codec, DecodedEvent } from '../core/codec.ts'
import type { Entry } from '../core/entry.ts'
import { entryBytes, parseEntryId } from '../core/entry.ts'
import { MillraceError } from '../errors.ts'
import { printable, printableJson } from './printable.ts'
import { bytes, paint } from './text.ts'

/** An entry as `millrace tail` shows it. */
export interface TailedEntry {
  readonly id: string
  /** When it was written, by its id: ISO 8601; nothing where that is no date. */
  readonly time: string | undefined
  /** Of its names and values. */
  readonly bytes: number
  /** Left out where the codec cannot read it. */
  readonly event?: DecodedEvent
  /** Why it cannot. */
  readonly problem?: string
  /** What it has instead of a payload. */
  readonly fields: Entry['fields']
}

/** Reads an entry; one that is no event is shown as such. */
export function tailedEntry({ id, fields }: Entry, codec: Codec): TailedEntry {
  const entry = { id, time: timeOf(id), bytes: entryBytes(fields), fields }
  try {
    return { ...entry, event: codec.decode(fields, id) }
  } catch (error) {
    // what another codec throws may quote the payload
    return { ...entry, problem: error instanceof MillraceError ? error.message : 'its codec cannot read it' }
  }
}

function timeOf(id: string): string | undefined {
  const date = new Date(Number(parseEntryId(id).ms))
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString()
}

/** Makes lines whose columns keep to the widest that there was so far. */
export function createTailLines(withPayload: boolean): (entry: TailedEntry) => string {
  const widths: number[] = []
  return (entry) => {
    const { event } = entry
    const cells = event
      ? [typeText(event), printable(event.eventId ?? '-'), printable(event.producer ?? '-')]
      : [paint('yellow', `no event: ${printable(entry.problem ?? '')}`)]
    const columns = [entry.id, entry.time ?? '-', ...cells].map((text, n) => {
      // what is no event would push all later lines to the right
      if (event === undefined && n >= 2) return text
      widths[n] = Math.max(widths[n] ?? 0, text.length)
      return text.padEnd(widths[n])
    })
    const payload = withPayload ? [contentText(entry)] : []
    return [...columns, bytes(entry.bytes), ...payload].join('  ')
  }
}

function typeText({ type, version }: DecodedEvent): string {
  return printable(version === undefined || version === 1 ? type : `${type} v${version}`)
}

function contentText({ event, fields }: TailedEntry): string {
  const content = event ? event.payload : fields.map(([name, value]) => [String(name), String(value)])
  return printable(JSON.stringify(content) ?? '')
}

/** An entry as one line of JSON. */
export function tailJson({ id, time, bytes: size, event, problem, fields }: TailedEntry, withPayload: boolean): string {
  const { payload, ...envelope } = event ?? { payload: undefined }
  const content = event ? { payload } : { fields: fields.map(([name, value]) => [String(name), String(value)]) }
  return printableJson({ id, time, ...envelope, problem, bytes: size, ...(withPayload ? content : {}) })
}
