// REDIS_URL=redis://… node send.ts: ten slow minutes of a source; prints an event that asks the query function for them
import { createPublisher } from 'millrace'
import { SampleTaken } from './events.ts'
import { redis } from './redis.ts'

const MINUTE_MS = 60_000
const [source, metric, now] = ['web-1', 'latency', Date.now()]

// in one request, so that one run of the poller has them all
const samples = createPublisher({ stream: 'samples', redis, producer: source })
await samples.publishMany(
  Array.from({ length: 11 }, (_, minutesAgo) => {
    const at = now - minutesAgo * MINUTE_MS
    return [SampleTaken, { source, metric, value: (600).toFixed(6), at }] as const
  }),
)
await redis.close()

const [from, to] = [`${now - 15 * MINUTE_MS}`, `${now + 1}`]
console.log(JSON.stringify({ queryStringParameters: { source, metric, level: '1m', from, to } }))
