// An ordered poller or claimer in a process of its own, to be killed. Says on stdout which steps start and end.
import { writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { claim, defineConsumer, defineEvent, on, orderedBy, poll } from 'millrace'
import { connect } from 'millrace/connect'
import * as z from 'zod/mini'

const { url, stream, action } = JSON.parse(process.argv[2] ?? '{}') as {
  url: string
  stream: string
  action: 'poll' | 'claim'
}
const Stepped = defineEvent('Stepped', { payload: z.object({ key: z.string(), step: z.number() }) })
const say = (line: string) => writeSync(1, `${line}\n`)

const consumer = defineConsumer({
  stream,
  group: 'billing',
  routes: [
    on(Stepped, async ({ payload: { key, step } }, { deliveryCount }) => {
      say(`starts ${key} ${step}`)
      await delay((Number(key.slice(1)) * 7 + step * 3) % 5)
      if (step === 2 && deliveryCount === 1) throw new Error('once')
      say(`ends ${key} ${step}`)
    }),
  ],
  concurrency: 10,
  backoff: { firstMs: 5, factor: 1, maxMs: 5 },
  maxDeliveries: 10,
  use: [orderedBy(({ aggregateId }) => aggregateId)],
})
const redis = connect(url)
await (action === 'poll' ? poll(consumer, { redis }) : claim(consumer, { redis, lingerMs: 0 }))
say('over')
await redis.close()
