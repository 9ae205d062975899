import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
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

/** What is wrong between the table and the stream: rows that are not there, there twice, marked with another entry or out of order in their aggregate. */
export async function differences(database: Database, raw: Redis): Promise<string[]> {
  const [table, stream] = [await readTable(database), await readStream(raw)]
  const ids = (rows: readonly { eventId: string }[]) => rows.map(({ eventId }) => eventId).join(' ')
  const byAggregate = Map.groupBy(stream, ({ aggregateId }) => aggregateId)
  const wrong: string[] = []
  for (const [aggregateId, rows] of Map.groupBy(table, (row) => row.aggregate_id)) {
    const entries = byAggregate.get(aggregateId) ?? []
    const wanted = rows.map((row) => row.event_id).join(' ')
    if (ids(entries) !== wanted) wrong.push(`${aggregateId}: is ${ids(entries)}, should be ${wanted}`)
    const marks = rows.filter(
      (row) => !entries.some(({ entryId, eventId }) => entryId === row.entry_id && eventId === row.event_id),
    )
    if (marks.length > 0) wrong.push(`${aggregateId}: ${marks.length} are marked with other entries`)
  }
  if (stream.length !== table.length) wrong.push(`${stream.length} entries of ${table.length} rows`)
  return wrong
}
