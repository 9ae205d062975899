import type { Redis } from 'ioredis'
import type { Database } from '../../examples/outbox/database.ts'

type Counts<Name extends string> = Readonly<Record<Name, number>>

/** What is in the table and in the stream, and what its consumer has counted. */
export interface OutboxAudit {
  readonly table: Counts<'rows' | 'published' | 'setAside' | 'waiting'>
  /** Of the stream. */
  readonly entries: number
  /** As they stand in Postgres. */
  readonly orders: Counts<'placed' | 'paid' | 'cancelled' | 'cents'>
  /** As the consumer of the stream has them. */
  readonly totals: Counts<'placed' | 'paid' | 'cancelled' | 'cents'>
  /** What is wrong with an aggregate, a sentence each: an event that is not there, there twice, out of order or marked with another entry. */
  readonly wrong: readonly string[]
}

interface Row {
  readonly event_id: string
  readonly aggregate_id: string
  readonly entry_id: string | null
  readonly is_set_aside: boolean
}

const ROWS =
  'select event_id, aggregate_id, entry_id, set_aside_at is not null as is_set_aside from outbox order by seq'
const ORDERS = `select count(*)::int as placed, count(*) filter (where state = 'paid')::int as paid,
  count(*) filter (where state = 'cancelled')::int as cancelled,
  coalesce(sum(cents) filter (where state = 'paid'), 0)::float8 as cents from orders`

/** Compares whole, so for as much as a demo or a test has. What waits is not expected in the stream. */
export async function auditOutbox(database: Database, raw: Redis): Promise<OutboxAudit> {
  const [rows, orders] = await database.transaction(async (query) => {
    const [row] = await query<OutboxAudit['orders']>(ORDERS)
    return [await query<Row>(ROWS), row as OutboxAudit['orders']] as const
  })
  const stream = await raw.xrange('orders', '-', '+')
  const counted = await raw.hgetall('{orders}:totals')
  const total = (name: string) => Number(counted[name] ?? 0)
  const published = rows.filter((row) => row.entry_id !== null)
  const setAside = rows.filter((row) => row.is_set_aside).length
  return {
    table: {
      rows: rows.length,
      published: published.length,
      setAside,
      waiting: rows.length - published.length - setAside,
    },
    entries: stream.length,
    orders,
    totals: { placed: total('placed'), paid: total('paid'), cancelled: total('cancelled'), cents: total('cents') },
    wrong: wrongAmong(published, stream),
  }
}

function wrongAmong(published: readonly Row[], stream: readonly [string, string[]][]): string[] {
  const entries = Map.groupBy(stream, ([, fields]) => fieldOf(fields, 'aggregateId'))
  const wrong: string[] = []
  for (const [aggregateId, rows] of Map.groupBy(published, (row) => row.aggregate_id)) {
    const is = (entries.get(aggregateId) ?? []).map(([id, fields]) => `${id} ${fieldOf(fields, 'eventId')}`).join(', ')
    const expected = rows.map((row) => `${row.entry_id} ${row.event_id}`).join(', ')
    if (is !== expected) wrong.push(`${aggregateId}: the stream has ${is}, the table ${expected}`)
  }
  return wrong
}

const fieldOf = (fields: readonly string[], name: string) => fields[fields.indexOf(name) + 1] ?? ''
