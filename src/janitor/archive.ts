import { isUtf8 } from 'node:buffer'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Bytes, Entry, Field } from '../core/entry.ts'
import { compareEntryIds, parseEntryId } from '../core/entry.ts'
import { assertText, kindOf, wrongUseError } from '../core/options.ts'

/** Entries that lie next to each other in a stream, on their way into an archive. */
export interface ArchiveRange {
  readonly stream: string
  readonly firstId: string
  readonly lastId: string
  /**
   * What to call the object: the stream's name and both ids. The range is the same, and has the same name, however often it is archived; what is there under that name already is
   * complete, and must stay as it is.
   */
  readonly name: string
  /** Oldest first. */
  readonly entries: readonly Entry[]
  /** An earlier run may have archived it. */
  readonly isRepeated: boolean
}

/** Where entries go before they are trimmed: `s3Archive` of `millrace/s3`, or a function of your own. The range is trimmed once it resolves. */
export type Archive = (range: ArchiveRange, context: { readonly signal: AbortSignal }) => Promise<unknown>

/** The name of a range's object, as in `orders/1700000000000-0_1700000000999-3.ndjson.gz`. What is special in a stream's name is written as in a URL. */
export function archiveName(stream: string, firstId: string, lastId: string): string {
  return `${archivePrefix(stream)}${firstId}_${lastId}.ndjson.gz`
}

/** What the names of a stream's objects begin with. @throws {TypeError} No stream. */
export function archivePrefix(stream: string): string {
  assertText('name archives', 'stream', stream)
  return `${encodeURIComponent(stream.toWellFormed())}/`
}

/** The ids in an object's name; `undefined` where it is none of ours. */
export function parseArchiveName(name: string): { readonly firstId: string; readonly lastId: string } | undefined {
  const [, firstId, lastId] = /(\d+-\d+)_(\d+-\d+)\.ndjson\.gz$/.exec(name) ?? []
  return firstId !== undefined && lastId !== undefined ? { firstId, lastId } : undefined
}

/**
 * Writes entries as an archive's object: lines of JSON, compressed by gzip. A line is `["<id>",["<name>","<value>",…]]`; a name or value that is no UTF-8 is `{"base64":"…"}` in its
 * place. The same entries are the same lines.
 *
 * @throws {TypeError} No entries.
 */
export async function encodeArchive(entries: readonly Entry[]): Promise<Buffer> {
  if (!Array.isArray(entries) || !entries.every((entry: Partial<Entry> | null) => Array.isArray(entry?.fields)))
    throw wrongUseError('encode an archive', `entries must be an array of entries, got ${kindOf(entries)}`)
  const lines = entries.map(({ id, fields }) => `${JSON.stringify([id, fields.flat().map(toJson)])}\n`)
  return promisify(gzip)(lines.join(''))
}

/**
 * Reads the entries of an archive's object, oldest first. Names and values are bytes.
 *
 * @throws {Error} It is none, or damaged.
 */
export async function decodeArchive(object: Uint8Array): Promise<Entry[]> {
  const text = (await promisify(gunzip)(object)).toString()
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [id, flat] = JSON.parse(line) as [string, (string | { readonly base64: string })[]]
      parseEntryId(id)
      const fields: Field[] = []
      for (let n = 0; n + 1 < flat.length; n += 2) fields.push([toBytes(flat[n]), toBytes(flat[n + 1])])
      return { id, fields }
    })
}

/** An object of an archive, as far as it is known by its name. */
export interface ArchiveObject {
  readonly name: string
  /** What `encodeArchive` wrote. */
  read(): Promise<Uint8Array>
}

/** Which entries to read of an archive. */
export interface ArchivePart {
  /** No entry before this id. */
  readonly from?: string
  /** No entry after this id. */
  readonly to?: string
}

/**
 * Reads entries back from the objects of one stream, in the order of their ids, each once, one object in memory at a time. Objects with other names are passed over.
 *
 * @throws {RangeError} `from` or `to` is no id.
 */
export async function* readArchive(objects: readonly ArchiveObject[], part: ArchivePart = {}): AsyncGenerator<Entry> {
  const { from = '0-0', to } = part
  const isWithin = (id: string) => compareEntryIds(id, from) >= 0 && (to === undefined || compareEntryIds(id, to) <= 0)
  const named = objects
    .flatMap((object) => {
      const ids = parseArchiveName(object.name)
      return ids ? [{ ...ids, object }] : []
    })
    .filter(
      ({ firstId, lastId }) =>
        compareEntryIds(lastId, from) >= 0 && (to === undefined || compareEntryIds(firstId, to) <= 0),
    )
    .sort((a, b) => compareEntryIds(a.firstId, b.firstId))
  let last = '0-0'
  for (const { object } of named) {
    for (const entry of await decodeArchive(await object.read())) {
      if (compareEntryIds(entry.id, last) <= 0 || !isWithin(entry.id)) continue
      last = entry.id
      yield entry
    }
  }
}

function toJson(bytes: Bytes): string | { readonly base64: string } {
  if (typeof bytes === 'string') return bytes
  return isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString('base64') }
}

function toBytes(written: string | { readonly base64: string } | undefined): Buffer {
  return typeof written === 'object' ? Buffer.from(written.base64, 'base64') : Buffer.from(written ?? '')
}
