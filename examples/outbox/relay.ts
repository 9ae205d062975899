import { setTimeout as sleep } from 'node:timers/promises'
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import type { Publication, Publisher } from 'millrace'
import { createPublisher, PublishFailedError, RedisConnectionError, RedisReplyError } from 'millrace'
import { type Database, database } from './database.ts'
import { EVENTS, STREAM } from './events.ts'
import { redis } from './redis.ts'

const HOUR_MS = 3_600_000
/** Rows of a transaction, and the time after which it begins no further request: less than the database lets it idle. */
const BATCH = { rows: 500, forMs: 10_000 }
/** Of a payload. A batch is at most 17 times that, so that it fits into the function's memory. */
const MAX_BYTES = 1_000_000
/** For how long rows wait for one of their aggregate that was set aside. */
const HOLD_MS = HOUR_MS * Number(process.env.HOLD_HOURS ?? 1)
/** For how long published rows are kept. */
const KEEP_MS = HOUR_MS * Number(process.env.KEEP_HOURS ?? 168)
/** For how long a run waits for new rows; 0: until there are none. */
const LISTEN_MS = Number(process.env.LISTEN_MS ?? 0)
const PAUSE_MS = 500
/** What is left of the function's time when no further batch begins. */
const RESERVE_MS = 2 * BATCH.forMs

/** `deduplicateMs` is what publishes a row once: longer than from a kill between publication and mark to the next run. */
const DEDUPLICATE = { deduplicateMs: 24 * HOUR_MS, maxLength: Number.POSITIVE_INFINITY }
export const orders = createPublisher({ stream: STREAM, redis, producer: 'outbox', ...DEDUPLICATE })

type Row = Readonly<Record<'seq' | 'event_id' | 'event_type' | 'aggregate_type' | 'aggregate_id', string>> &
  Readonly<{ schema_version: number; created_ms: number; payload: string | null }>

/** One relay at a time: two would overtake each other within an aggregate. It goes with the transaction, however that ends. */
const LOCK = `select pg_try_advisory_xact_lock(hashtextextended('relay', 'outbox'::regclass::oid::bigint)) as taken`
const IS_WAITING = 'published_at is null and set_aside_at is null'
/** The oldest that wait, not those from some number on: a row that is committed late is read late, and none is left out. */
const READ = `select seq::text, event_id, event_type, schema_version, aggregate_type, aggregate_id,
    case when bytes <= $3::int then payload end as payload, (extract(epoch from created_at) * 1000)::float8 as created_ms
  from (select *, sum(least(bytes, $3::int)) over (order by seq) - least(bytes, $3::int) as bytes_before from (
    select *, octet_length(payload) as bytes from outbox o where ${IS_WAITING} and not exists (
      select from outbox s where s.aggregate_type = o.aggregate_type and s.aggregate_id = o.aggregate_id
        and s.seq < o.seq and s.set_aside_at > clock_timestamp() - $2::float8 * interval '1 ms')
    order by seq limit $1::int) oldest) counted
  where bytes_before <= 16 * $3::bigint order by counted.seq`
const MARK = `update outbox set published_at = clock_timestamp(), entry_id = value from json_each_text($1::text::json)
  where seq = key::bigint returning (extract(epoch from published_at - created_at) * 1000)::float8 as lag_ms`
const SET_ASIDE = `update outbox set set_aside_at = clock_timestamp(), reason = value from json_each_text($1::text::json)
  where seq = key::bigint`
const CLEAN = `delete from outbox where seq in (select seq from outbox where published_at < clock_timestamp() - $1::float8 * interval '1 ms'
  order by published_at limit $2::int for update skip locked)`
const STATE = `select (select count(*) from (select from outbox where ${IS_WAITING} limit 100000) w)::int as "waiting",
  (select count(*) from outbox where set_aside_at is not null)::int as "inAside",
  coalesce((select extract(epoch from clock_timestamp() - min(created_at)) from (
    select created_at from outbox where ${IS_WAITING} order by seq limit 100) w), 0)::float8 as "oldestSeconds"`

/** What rows have come to, by their number: where they are in the stream, or why they cannot be. */
interface Done {
  readonly end: number
  readonly entryIds: Map<string, string>
  readonly reasons: Map<string, string>
  readonly held: Set<string>
  duplicates: number
}

/**
 * Publishes the oldest rows and marks them, in one transaction. A request holds one row of each aggregate, the next request its next, so that none is in the stream
 * ahead of one that was refused. Resolves to what became of them; `failure` is why it ended early: what was published by then is marked.
 */
export function relayBatch(on: Database, publisher: Publisher, limits = BATCH, holdMs = HOLD_MS) {
  return on.transaction(async (query) => {
    const end = performance.now() + limits.forMs
    const done: Done = { end, entryIds: new Map(), reasons: new Map(), held: new Set(), duplicates: 0 }
    let rows: Row[] = []
    let failure: unknown
    await query('set transaction isolation level read committed') // the lock first, then what it protects
    const [lock] = await query<{ taken: boolean }>(LOCK)
    if (lock?.taken) rows = await query<Row>(READ, [limits.rows, holdMs, MAX_BYTES])
    try {
      for (const wave of wavesOf(rows))
        await publishRows(
          publisher,
          wave.filter((row) => !done.held.has(aggregateOf(row))),
          done,
        )
    } catch (error) {
      failure = error
    }
    const save = <Saved>(statement: string, texts: ReadonlyMap<string, string>) =>
      texts.size > 0 ? query<Saved>(statement, [JSON.stringify(Object.fromEntries(texts))]) : []
    const lags = await save<{ lag_ms: number }>(MARK, done.entryIds)
    await save(SET_ASIDE, done.reasons)
    const counts = { published: done.entryIds.size, duplicates: done.duplicates, setAside: done.reasons.size }
    const lagMs = Math.round(Math.max(0, ...lags.map(({ lag_ms }) => lag_ms)))
    return { read: rows.length, ...counts, lagMs, isBusy: !lock?.taken, failure }
  })
}

/** The first of each aggregate, the second of each … */
function wavesOf(rows: readonly Row[]): Row[][] {
  const waves: Row[][] = []
  for (const ofOne of Map.groupBy(rows, aggregateOf).values())
    for (const [n, row] of ofOne.entries()) waves[n] = [...(waves[n] ?? []), row]
  return waves
}

const aggregateOf = (row: Row) => JSON.stringify([row.aggregate_type, row.aggregate_id])

/** Publishes in one request; where a row cannot be, halves until that one is alone. Once time is over, nothing any more. */
async function publishRows(publisher: Publisher, rows: readonly Row[], done: Done): Promise<void> {
  if (rows.length === 0 || performance.now() > done.end) return
  const note = (n: number, entryId: string) => done.entryIds.set(rows[n]?.seq ?? '', entryId)
  try {
    const answers = (await publisher.publishMany(rows.map(publicationOf))) as { entryId: string; duplicate?: true }[]
    for (const [n, { entryId }] of answers.entries()) note(n, entryId)
    done.duplicates += answers.filter(({ duplicate }) => duplicate).length
  } catch (error) {
    if (error instanceof PublishFailedError) for (const [n, id] of error.entryIds.entries()) if (id) note(n, id)
    if (SERVER_ERRORS.some((kind) => error instanceof kind)) throw error
    const [row, half] = [rows[0] as Row, Math.ceil(rows.length / 2)]
    if (rows.length > 1)
      for (const part of [rows.slice(0, half), rows.slice(half)]) await publishRows(publisher, part, done)
    else {
      const reason = String((error as Error | undefined)?.message).slice(0, 500)
      done.reasons.set(row.seq, reason.replace(/[^ -~]/g, '?')) // the column takes no NUL
      done.held.add(aggregateOf(row))
    }
  }
}

/** Anything else is of a row: it was thrown ahead of the request, and would be the next time. */
const SERVER_ERRORS = [PublishFailedError, RedisConnectionError, RedisReplyError]

/** @throws {Error} It cannot be published. The message says nothing of the payload. */
function publicationOf(row: Row): Publication {
  const event = EVENTS.find(({ type, version }) => type === row.event_type && version === row.schema_version)
  if (!event) throw new Error(`There is no event ${row.event_type} of version ${row.schema_version}`)
  if (row.payload === null) throw new Error(`Payload must be at most ${MAX_BYTES} bytes`)
  const names = { eventId: row.event_id, aggregateType: row.aggregate_type, aggregateId: row.aggregate_id }
  return [event, parse(row.payload) as never, { ...names, occurredAt: new Date(row.created_ms) }]
}

/** A number that is beyond what a double holds would be published as another. */
function parse(text: string): unknown {
  let [rule, isExact] = ['Payload must be JSON', true]
  try {
    const payload = JSON.parse(text, (_name, value) => {
      isExact &&= typeof value !== 'number' || Math.abs(value) <= Number.MAX_SAFE_INTEGER
      return value
    })
    if (isExact) return payload
    rule = 'Numbers of the payload must be at most 2^53 - 1'
  } catch {} // its message would say what is in the payload
  throw new Error(rule)
}

const metrics = new Metrics({ namespace: 'Outbox' })

/**
 * Wakes on a schedule: publishes what is there, and removes what was published long ago.
 *
 * @throws What Redis or the database refused. The next run goes on.
 */
export async function handler(_event: unknown, context: { getRemainingTimeInMillis(): number }) {
  const end = performance.now() + LISTEN_MS
  const total = { batches: 0, published: 0, duplicates: 0, setAside: 0, lagMs: 0 }
  let failure: unknown
  while (failure === undefined && context.getRemainingTimeInMillis() > RESERVE_MS) {
    const batch = await relayBatch(database, orders)
    failure = batch.failure
    if (batch.read > 0) total.batches++
    for (const name of ['published', 'duplicates', 'setAside'] as const) total[name] += batch[name]
    total.lagMs = Math.max(total.lagMs, batch.lagMs)
    await database.transaction((query) => query(CLEAN, [KEEP_MS, 2 * BATCH.rows]))
    if (batch.read === 0 && performance.now() >= end) break
    if (batch.read === 0) await sleep(PAUSE_MS)
  }
  type State = Readonly<Record<'waiting' | 'inAside' | 'oldestSeconds', number>>
  const [state] = (await database.transaction((query) => query<State>(STATE))) as [State]
  const { batches: Batches, published: Published, duplicates: Duplicates } = total
  const counts = { Batches, Published, Duplicates, SetAside: state.inAside, Waiting: state.waiting }
  for (const [name, value] of Object.entries(counts)) metrics.addMetric(name, MetricUnit.Count, value)
  if (Published > 0) metrics.addMetric('Lag', MetricUnit.Milliseconds, total.lagMs)
  metrics.addMetric('OldestWaiting', MetricUnit.Seconds, state.oldestSeconds)
  metrics.publishStoredMetrics()
  if (failure !== undefined) throw failure
  return { ...total, ...state }
}
