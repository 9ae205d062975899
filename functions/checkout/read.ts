import * as z from 'zod/mini'
import { orderId } from '../events/checkout.ts'
import { pairsOf } from '../shared/ask.ts'
import { ask, OPEN, rowOf, STATS } from './table.ts'

const Query = z.strictObject({ orderId: z.optional(orderId) })
const SERVICES = ['order', 'payment', 'stock', 'shipping', 'stats']
const OLDEST = 100

/** What a function URL, or an HTTP API, hands over of a request. */
interface HttpRequest {
  readonly queryStringParameters?: Readonly<Record<string, string>> | null
}

/** Answers `?orderId=` with the states of an order; without it, with the orders that are open longest, how orders ended, and how many dead letters each service has. */
export async function handler({ queryStringParameters }: HttpRequest) {
  const query = Query.safeParse(queryStringParameters ?? {})
  if (!query.success) return answer(400, { error: 'orderId must be 1 to 64 letters, digits, _ or -' })
  return query.data.orderId === undefined ? readAll() : readOrder(query.data.orderId)
}

async function readOrder(orderId: string) {
  const [found, openSince] = await ask([
    ['HGETALL', rowOf(orderId)],
    ['ZSCORE', OPEN, orderId],
  ])
  const row = pairsOf(found)
  if (row.length === 0) return answer(404, { error: 'there is no such order' })
  return answer(200, {
    orderId,
    openSince: openSince ? isoTime(openSince as string) : null,
    ...Object.fromEntries(row),
  })
}

async function readAll() {
  const [count, oldest, ended, ...letters] = await ask([
    ['ZCARD', OPEN],
    ['ZRANGE', OPEN, 0, OLDEST - 1, 'WITHSCORES'],
    ['HGETALL', STATS],
    ...SERVICES.map((group) => ['XLEN', `{checkout}:${group}:dlq`] as const),
  ])
  const orders = pairsOf(oldest).map(([orderId, since]) => ({ orderId, openSince: isoTime(since) }))
  const deadLetters = Object.fromEntries(SERVICES.map((group, n) => [group, letters[n]]))
  return answer(200, { open: { count, oldest: orders }, ended: Object.fromEntries(pairsOf(ended)), deadLetters })
}

const isoTime = (ms: string) => new Date(Number(ms)).toISOString()

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
