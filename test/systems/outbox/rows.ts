import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { auditOutbox } from '../../../demo/outbox/audit.ts'
import type { Database } from '../../../examples/outbox/database.ts'

const FOLDER = join(import.meta.dirname, '../../../examples/outbox')

/** Applies what a deployment applies, twice: it must bear that. */
export async function migrate(database: Database): Promise<void> {
  const files = ['001-orders.sql', '002-outbox.sql'].map((name) => readFileSync(join(FOLDER, name), 'utf8'))
  for (const text of [...files, ...files]) await database.script(text)
}

/** What an entry says of its row. */
export interface InStream {
  readonly entryId: string
  readonly eventId: string
  readonly aggregateId: string
  readonly type: string
}

export async function readStream(raw: Redis): Promise<InStream[]> {
  return (await raw.xrange('orders', '-', '+')).map(([entryId, flat]) => {
    const fields = new Map(flat.flatMap((name, n) => (n % 2 ? [] : [[name, flat[n + 1] ?? ''] as const])))
    const text = (name: string) => fields.get(name) ?? ''
    return { entryId, eventId: text('eventId'), aggregateId: text('aggregateId'), type: text('eventType') }
  })
}

/** A row as it stands in the table. */
export interface InTable {
  readonly seq: number
  readonly event_id: string
  readonly aggregate_id: string
  readonly entry_id: string | null
  readonly reason: string | null
}

export function readTable(database: Database): Promise<InTable[]> {
  const text = 'select seq::int, event_id, aggregate_id, entry_id, reason from outbox order by seq'
  return database.transaction((query) => query<InTable>(text))
}

/** What is wrong once all is published: rows that are not in the stream, there twice, out of order in their aggregate or marked with another entry. */
export async function differences(database: Database, raw: Redis): Promise<string[]> {
  const { wrong, table, entries } = await auditOutbox(database, raw)
  return entries === table.rows ? [...wrong] : [...wrong, `${entries} entries of ${table.rows} rows`]
}
