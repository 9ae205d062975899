import type { Codec, DecodedEvent } from '../core/codec.ts'
import { checkDecodedEvent } from '../core/decoded-event.ts'
import type { Entry } from '../core/entry.ts'
import { entryBytes, parseEntryId } from '../core/entry.ts'
import { formatBytes } from '../core/words.ts'
import { MillraceError } from '../errors.ts'
import { cutText, printable, printableJson, printableName } from './text/printable.ts'
import { paint } from './text/text.ts'

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

/** Characters of a payload that a line shows. */
const MOST_TEXT = 4_000

/** Reads an entry; one that is no event is shown as such. */
export function readTailedEntry({ id, fields }: Entry, codec: Codec): TailedEntry {
  const entry = { id, time: timeOf(id), bytes: entryBytes(fields), fields }
  try {
    return { ...entry, event: checkDecodedEvent(codec.decode(fields, id), Infinity) }
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
export function createTailLineFormatter(withPayload: boolean): (entry: TailedEntry) => string {
  const widths: number[] = []
  return (entry) => {
    const { event } = entry
    const cells = event
      ? [typeText(event), printableName(event.eventId ?? '-'), printableName(event.producer ?? '-')]
      : [paint('yellow', `no event: ${printable(cutText(entry.problem ?? '', MOST_TEXT))}`)]
    const columns = [entry.id, entry.time ?? '-', ...cells].map((text, n) => {
      // what is no event would push all later lines to the right
      if (event === undefined && n >= 2) return text
      widths[n] = Math.max(widths[n] ?? 0, text.length)
      return text.padEnd(widths[n])
    })
    const payload = withPayload ? [contentText(entry)] : []
    return [...columns, formatBytes(entry.bytes), ...payload].join('  ')
  }
}

function typeText({ type, version }: DecodedEvent): string {
  const name = printableName(type)
  return version === undefined || version === 1 ? name : `${name} v${version}`
}

function contentText(entry: TailedEntry): string {
  const { payload, fields } = contentOf(entry)
  return printable(cutText(JSON.stringify(fields ?? payload) ?? '', MOST_TEXT))
}

/** The payload; where it is none that JSON can be made of, as one of too many levels, the fields as they are. */
function contentOf({ event, fields }: TailedEntry): { readonly payload?: unknown; readonly fields?: unknown } {
  try {
    // what cannot be written is known only by writing it
    if (event && JSON.stringify(event.payload) !== undefined) return { payload: event.payload }
  } catch {}
  return { fields: fields.map(([name, value]) => [String(name), String(value)]) }
}

/** An entry as one line of JSON. @param stream Named in it; left out: not. */
export function tailedEntryJson(entry: TailedEntry, withPayload: boolean, stream?: string): string {
  const { id, time, bytes: size, event, problem } = entry
  const { payload: _, attributes, ...envelope } = event ?? { payload: undefined }
  const content = withPayload ? { attributes, ...contentOf(entry) } : {}
  return printableJson({ stream, id, time, ...envelope, problem, bytes: size, ...content })
}
