import { defineConsumer, on } from 'millrace'
import { inspectStreams } from 'millrace/operate'
import * as z from 'zod/mini'
import { id, OrderPlaced, STREAM } from '../events/shop-orders.ts'
import { createAsk, pairsOf } from '../shared/ask.ts'
import { redis } from '../shared/redis.ts'
import { progressOf } from './objectives.ts'
import { documentOf, ordersOf, stateOf } from './search.ts'

const Query = z.strictObject({ customerId: z.optional(id) })
const NEWEST = 50

/** Reads what search keeps: it lies in one hash slot, so that any group's consumer does; this one polls nothing. */
const ask = createAsk(
  redis,
  defineConsumer({ stream: STREAM, group: 'search', routes: [on(OrderPlaced, async () => {})] }),
)

/** What a function URL, or an HTTP API, hands over of a request. */
interface HttpRequest {
  readonly queryStringParameters?: Readonly<Record<string, string>> | null
}

/** Answers `?customerId=` with the customer's newest orders; without it, with how far behind each group is, and which of them miss their objective. */
export async function handler({ queryStringParameters }: HttpRequest) {
  const query = Query.safeParse(queryStringParameters ?? {})
  if (!query.success) return answer(400, { error: 'customerId must be 1 to 64 letters, digits, _ or -' })
  return query.data.customerId === undefined ? readGroups() : findOrders(query.data.customerId)
}

async function readGroups() {
  const { streams } = await inspectStreams({ redis, streams: [STREAM] })
  const groups = progressOf(streams[0])
  return answer(200, { behind: groups.filter(({ isMet }) => !isMet).map(({ group }) => group), groups })
}

async function findOrders(customerId: string) {
  const [ids] = await ask([['ZREVRANGE', ordersOf(customerId), 0, NEWEST - 1]])
  const orderIds = ids as string[]
  const found = orderIds.length > 0 ? await ask(orderIds.map((orderId) => ['HGETALL', documentOf(orderId)])) : []
  const orders = orderIds.flatMap((orderId, n) => {
    const document = Object.fromEntries(pairsOf(found[n]))
    // the list outlives the documents of older orders: of those nothing is known any more
    return document.customerId === undefined ? [] : [{ orderId, state: stateOf(document) }]
  })
  return answer(200, { orders })
}

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
