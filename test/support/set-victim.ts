// Polls the set `jobs` in a process of its own, to be killed. Says on stdout which job a handler has begun, and which it has finished.
import { writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { defineConsumer, defineEvent, on, poll, prioritized } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import * as z from 'zod/mini'

const [url = '', handlerMs = '0'] = process.argv.slice(2)
const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const consumers = defineConsumer({
  stream: prioritized('jobs', ['high', 'low']),
  group: 'work',
  concurrency: 4,
  batchSize: 20,
  maxDeliveries: 10,
  routes: [
    on(Job, async ({ payload }) => {
      writeSync(1, `begun ${payload.id}\n`)
      await delay(Number(handlerMs))
      writeSync(1, `done ${payload.id}\n`)
    }),
  ],
})
const redis = connectIoredis(url)
await poll(consumers, { redis })
await redis.close()
