import { createPoller, defineConsumer, defineEvent, on } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'

/** Drains the stream of a server, in a process of its own: how much V8 promotes is printed by its flags. Prints how many entries it acked. */
const [url] = process.argv.slice(2) as [string]
const Paid = defineEvent('Paid', { payload: z.object({ orderId: z.string() }) })
const redis = connectIoredis(url)
const consumer = defineConsumer({ stream: 'orders', group: `group-${process.pid}`, routes: [on(Paid, async () => {})] })
const report = await createPoller(consumer, { redis })(undefined, {
  functionName: 'drain',
  awsRequestId: 'drain',
  getRemainingTimeInMillis: () => 900_000,
})
await redis.close()
console.log(`acked=${report.acked}`)
