import type { EventDefinition } from 'millrace'
import * as z from 'zod/mini'
import { type Database, database, type Query } from './database.ts'
import { cents, OrderCancelled, OrderPaid, OrderPlaced, orderId } from './events.ts'

const Command = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('place'), orderId, cents }),
  z.strictObject({ type: z.literal('pay'), orderId }),
  z.strictObject({ type: z.literal('cancel'), orderId }),
])
export type Command = z.infer<typeof Command>
export type Outcome = 'done' | 'placed already' | 'not open'

/** Changes an order and writes its event, in one transaction: both or none. */
export function execute(on: Database, command: Command): Promise<Outcome> {
  const { type, orderId } = command
  return on.transaction(async (query) => {
    if (type === 'place') {
      const { cents } = command
      const insert = 'insert into orders (order_id, cents) values ($1, $2) on conflict do nothing returning order_id'
      if ((await query(insert, [orderId, cents])).length === 0) return 'placed already'
      await addEvent(query, OrderPlaced, orderId, { orderId, cents })
      return 'done'
    }
    const update = `update orders set state = $2 where order_id = $1 and state = 'placed' returning cents::text`
    const [order] = await query<{ cents: string }>(update, [orderId, type === 'pay' ? 'paid' : 'cancelled'])
    if (!order) return 'not open'
    if (type === 'pay') await addEvent(query, OrderPaid, orderId, { orderId, cents: Number(order.cents) })
    else await addEvent(query, OrderCancelled, orderId, { orderId })
    return 'done'
  })
}

/** Writes an event of an order into the outbox, in the caller's transaction. */
async function addEvent<Definition extends EventDefinition>(
  query: Query,
  { type, version }: Definition,
  aggregateId: string,
  payload: z.input<Definition['payload'] & z.ZodMiniType>,
): Promise<void> {
  const insert = `insert into outbox (event_type, schema_version, aggregate_type, aggregate_id, payload)
    values ($1, $2, 'order', $3, $4)`
  await query(insert, [type, version, aggregateId, JSON.stringify(payload)])
}

/** A function URL: POST a command. */
export async function handler({ body = '', isBase64Encoded }: { body?: string; isBase64Encoded?: boolean }) {
  const text = isBase64Encoded ? Buffer.from(body, 'base64').toString() : body
  const asked = await (async () => JSON.parse(text))().catch(() => undefined)
  const command = Command.safeParse(asked)
  if (!command.success)
    return answer(400, { errors: command.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) })
  const outcome = await execute(database, command.data)
  return answer(outcome === 'done' ? 200 : 409, { outcome })
}

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
