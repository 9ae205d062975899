// An ordered poller that listens, in a process of its own, to be killed. Says on stdout which steps start and end.
import { writeSync } from 'node:fs'
import { poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { delay, stepping } from './steps.ts'

const { url } = JSON.parse(process.argv[2] ?? '{}') as { url: string }
const say = (line: string) => writeSync(1, `${line}\n`)

const consumer = stepping({
  handle: async ({ payload }, { deliveryCount }) => {
    const { key, step } = payload as { key: string; step: number }
    say(`starts ${key} ${step}`)
    await delay(20)
    if (step === 2 && deliveryCount === 1) throw new Error('once')
    say(`ends ${key} ${step}`)
  },
})
await poll(consumer, { redis: connectIoredis(url), remainingMs: 60_000 })
