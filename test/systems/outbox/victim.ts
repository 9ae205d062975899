// Relays until nothing is left, or kills itself at a step of the first batch: DIE_AT=read|between|published|marked|committed node victim.ts
import type { Publisher } from 'millrace'
import type { Database } from '../../../examples/outbox/database.ts'
import { database } from '../../../examples/outbox/database.ts'
import { redis } from '../../../examples/outbox/redis.ts'
import { orders, relayBatch } from '../../../examples/outbox/relay.ts'

const { DIE_AT } = process.env
let requests = 0

async function dieAt(step: string): Promise<void> {
  if (step !== DIE_AT) return
  process.kill(process.pid, 'SIGKILL')
  await new Promise(() => {})
}

const publisher: Publisher = {
  ...orders,
  publishMany: (async (...args: Parameters<Publisher['publishMany']>) => {
    requests++
    await dieAt(requests === 1 ? 'read' : 'between')
    return orders.publishMany(...args)
  }) as Publisher['publishMany'],
}

const mortal: Database = {
  ...database,
  async transaction(work) {
    const result = await database.transaction((query) =>
      work(async (text, values) => {
        if (text.includes('set published_at')) await dieAt('published')
        const rows = await query<never>(text, values)
        if (text.includes('set published_at')) await dieAt('marked')
        return rows
      }),
    )
    await dieAt('committed')
    return result
  },
}

for (;;) {
  const { read, failure } = await relayBatch(mortal, publisher)
  if (failure !== undefined) throw failure
  if (read === 0) break
}
await Promise.all([redis.close(), database.close()])
