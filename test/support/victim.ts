// A poller or claimer in a process of its own, to be killed. Says on stdout which orders its handler finished, then the report.
import { writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { claim, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { billing } from './consumer.ts'
import type { VictimOrder } from './start-victim.ts'

const { url, action, options, poison, handlerMs = 0 } = JSON.parse(process.argv[2] ?? '{}') as VictimOrder
const say = (line: string) => writeSync(1, `${line}\n`)
const redis = connectIoredis(url)
const consumer = billing(async (event) => {
  const { orderId } = (event as { payload: { orderId: string } }).payload
  if (orderId === poison) process.exit(3)
  await delay(handlerMs)
  say(`handled ${orderId}`)
}, options)
say(`report ${JSON.stringify(await (action === 'poll' ? poll : claim)(consumer, { redis }))}`)
await redis.close()
