// A poller or claimer in a process of its own, to be killed. Says on stdout which orders its handler finished, then the report.
import { writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { idempotent, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { claimOnce } from './claim-once.ts'
import { billing } from './consumer.ts'
import type { Death, VictimOrder } from './start-victim.ts'

const {
  url,
  action,
  options,
  poison,
  death = 'exit',
  failures = 0,
  handlerMs = 0,
  ttlMs,
} = JSON.parse(process.argv[2] ?? '{}') as VictimOrder
const DEATHS: Readonly<Record<Death, () => unknown>> = {
  exit: () => process.exit(3),
  rejection() {
    void Promise.reject(new Error('nobody waits for this'))
    return new Promise(() => {})
  },
  exception() {
    setTimeout(() => {
      throw new Error('nobody catches this')
    })
    return new Promise(() => {})
  },
  memory() {
    for (const kept: number[][] = []; ; ) kept.push(Array.from({ length: 100_000 }, () => kept.length))
  },
  hang: () => new Promise(() => {}),
  loop() {
    for (;;);
  },
}

const say = (line: string) => writeSync(1, `${line}\n`)
const redis = connectIoredis(url)
const use = ttlMs === undefined ? [] : [idempotent({ ttlMs })]
const consumer = billing(
  async (event, { deliveryCount }) => {
    const { orderId } = (event as { payload: { orderId: string } }).payload
    if (deliveryCount <= failures) throw new Error('no')
    if (orderId === poison) {
      say('poisoned')
      await DEATHS[death]()
    }
    if (handlerMs >= 0) await delay(handlerMs)
    say(`handled ${orderId}`)
  },
  { ...options, use },
)
say(`report ${JSON.stringify(await (action === 'poll' ? poll : claimOnce)(consumer, { redis }))}`)
await redis.close()
