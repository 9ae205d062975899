import * as z from 'zod/mini'
import { orderId } from '../events/checkout.ts'
import { client } from '../shared/client.ts'
import { OPEN, rowOf, STATS } from './table.ts'

const Query = z.strictObject({ orderId: z.optional(orderId) })
const SERVICES = ['order', 'payment', 'stock', 'shipping', 'stats']
const OLDEST = 100

/** What a function URL, or an HTTP API, hands over of a request. */
interface HttpRequest {
  readonly queryStringParameters?: Readonly<Record<string, string>>
}

/** Answers `?orderId=` with the states of an order; without it, with the orders that are open longest, how orders ended, and how many dead letters each service has. */
export async function handler({ queryStringParameters = {} }: HttpRequest) {
  const query = Query.safeParse(queryStringParameters)
  if (!query.success) return answer(400, { error: 'orderId must be 1 to 64 letters, digits, _ or -' })
  return query.data.orderId === undefined ? readAll() : readOrder(query.data.orderId)
}

async function readOrder(orderId: string) {
  const [row, openSince] = await Promise.all([client.hgetall(rowOf(orderId)), client.zscore(OPEN, orderId)])
  if (Object.keys(row).length === 0) return answer(404, { error: 'there is no such order' })
  return answer(200, { orderId, openSince: openSince === null ? null : isoTime(openSince), ...row })
}

async function readAll() {
  const [count, oldest, ended, ...letters] = await Promise.all([
    client.zcard(OPEN),
    client.zrange(OPEN, 0, String(OLDEST - 1), 'WITHSCORES'),
    client.hgetall(STATS),
    ...SERVICES.map((group) => client.xlen(`{checkout}:${group}:dlq`)),
  ])
  const orders = oldest.flatMap((orderId, n) => (n % 2 ? [] : [{ orderId, openSince: isoTime(oldest[n + 1] ?? '') }]))
  const deadLetters = Object.fromEntries(SERVICES.map((group, n) => [group, letters[n]]))
  return answer(200, { open: { count, oldest: orders }, ended, deadLetters })
}

const isoTime = (ms: string) => new Date(Number(ms)).toISOString()

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
