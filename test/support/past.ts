import { createPublisher } from 'millrace'
import { OrderPaid, type Scenario } from './scenario.ts'

/** Publishes orders as if that long ago. */
export async function publishAgo(
  { redis, raw }: Scenario,
  ms: number,
  ...orderIds: readonly string[]
): Promise<string[]> {
  const draft = '{orders}:draft'
  const publisher = createPublisher({ stream: draft, redis, producer: 'shop' })
  await publisher.publishMany(orderIds.map((orderId) => [OrderPaid, { orderId }] as const))
  const at = Date.now() - ms
  const adding = raw.pipeline()
  for (const [n, [, fields]] of (await raw.xrange(draft, '-', '+')).entries())
    adding.xadd('orders', `${at}-${n}`, ...fields)
  const added = await adding.exec()
  await raw.del(draft)
  return added?.map(([, id]) => String(id)) ?? []
}

/** Makes it look as if a consumer name had not read for that long, and nothing had been acknowledged since. */
export async function quietSince({ raw }: Scenario, consumerName: string, ms: number): Promise<void> {
  const dump = await raw.dumpBuffer('orders')
  const name = Buffer.from(consumerName)
  const at = dump.lastIndexOf(Buffer.concat([Buffer.of(name.length), name])) + 1 + name.length
  dump.writeBigInt64LE(BigInt(Date.now() - ms), at)
  await raw.call('DEBUG', 'SET-SKIP-CHECKSUM-VALIDATION', '1')
  await raw.restore('orders', 0, dump, 'REPLACE')
  await raw.hset('{orders}:billing:state', 'acked', Date.now() - ms)
}
