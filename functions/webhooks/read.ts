import * as z from 'zod/mini'
import { merchantId } from '../events/webhooks.ts'
import type { Reply } from '../shared/ask.ts'
import { pairsOf } from '../shared/ask.ts'
import { DAY_MS, isoOf } from '../shared/time.ts'
import { LATENCIES } from './deliver.ts'
import { ask, PAUSED, statsOf } from './table.ts'

const Query = z.strictObject({ merchantId: z.optional(merchantId) })
const DAYS = 7

/** Of what waits and of dead letters, so many are read. */
const MOST = 1_000

const [STREAM, GROUP, DEAD_LETTERS] = ['webhooks', 'delivery', '{webhooks}:delivery:dlq']

/** Answers `?merchantId=` with a merchant's answers and latencies of a week; without it, with what waits and what is dead, by merchant, and who is left alone. */
export async function handler({ queryStringParameters }: { queryStringParameters?: Record<string, string> | null }) {
  const query = Query.safeParse(queryStringParameters ?? {})
  if (!query.success) return answer(400, { error: 'merchantId must be 1 to 64 letters, digits, _ or -' })
  return answer(200, query.data.merchantId === undefined ? await readAll() : await readMerchant(query.data.merchantId))
}

async function readMerchant(merchantId: string) {
  const times = Array.from({ length: DAYS }, (_, ago) => Date.now() - ago * DAY_MS)
  const replies = await ask([
    ['ZSCORE', PAUSED, merchantId],
    ...times.map((ms) => ['HGETALL', statsOf(merchantId, ms)] as const),
  ])
  const [until, ...found] = replies
  const pausedUntil = Number(until ?? 0) > Date.now() ? isoOf(Number(until)) : null
  const days = found.map((reply, n) => ({ day: isoOf(times[n] ?? 0).slice(0, 10), ...statsFrom(pairsOf(reply)) }))
  return { merchantId, pausedUntil, days }
}

function statsFrom(fields: readonly [name: string, value: string][]) {
  const ofKind = (kind: string) =>
    fields.filter(([name]) => name.startsWith(kind)).map(([name, value]) => [name.slice(kind.length), Number(value)])
  const within = new Map(ofKind('within:').map(([end, count]) => [Number(end), Number(count)]))
  const p50 = quantile(within, 0.5)
  return { answers: Object.fromEntries(ofKind('answer:')), latencyMs: { p50, p99: quantile(within, 0.99) } }
}

/** The upper end of the class that it lies in; none of the last one, nor of nothing. */
function quantile(within: ReadonlyMap<number, number>, share: number): number | null {
  let left = share * [...within.values()].reduce((sum, count) => sum + count, 0)
  if (left === 0) return null
  for (const end of LATENCIES) {
    left -= within.get(end) ?? 0
    if (left <= 0) return Number.isFinite(end) ? end : null
  }
  return null
}

async function readAll() {
  const [exists] = await ask([['EXISTS', STREAM]])
  const groups = exists ? ((await ask([['XINFO', 'GROUPS', STREAM]]))[0] as readonly Reply[]) : []
  const own = groups.map((one) => new Map(pairsOf(one))).find((one) => one.get('name') === GROUP)
  const [pending, unread, letters, letterCount, paused] = await ask([
    own ? ['XPENDING', STREAM, GROUP, '-', '+', MOST] : ['XRANGE', STREAM, '-', '+', 'COUNT', 0],
    ['XRANGE', STREAM, own ? `(${own.get('last-delivered-id')}` : '-', '+', 'COUNT', MOST],
    ['XRANGE', DEAD_LETTERS, '-', '+', 'COUNT', MOST],
    ['XLEN', DEAD_LETTERS],
    ['ZRANGE', PAUSED, Date.now(), '+inf', 'BYSCORE', 'LIMIT', 0, MOST, 'WITHSCORES'],
  ])
  const ids = ((pending ?? []) as readonly (readonly string[])[]).map(([id = '']) => id)
  const entries = ids.length > 0 ? await ask(ids.map((id) => ['XRANGE', STREAM, id, id] as const)) : []
  return {
    pending: { count: Number(own?.get('pending') ?? 0), byMerchant: byMerchant(entries.flat()) },
    unread: { byMerchant: byMerchant(unread) },
    deadLetters: { count: letterCount, byMerchant: byMerchant(letters) },
    paused: Object.fromEntries(pairsOf(paused).map(([merchantId, until]) => [merchantId, isoOf(Number(until))])),
  }
}

/** How many entries each merchant has among these. */
function byMerchant(entries: Reply | undefined): Record<string, number> {
  const merchants = ((entries ?? []) as readonly [id: string, fields: Reply][]).map(
    ([, fields]) => new Map(pairsOf(fields)).get('aggregateId') ?? '',
  )
  return Object.fromEntries([...Map.groupBy(merchants, (id) => id)].map(([id, of]) => [id, of.length]))
}

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
