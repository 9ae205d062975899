// A load generator: REDIS_URL=redis://… node functions/activity/simulate.ts --rate 200 --seconds 60 --seed 1
import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { createActivityPublisher, paced } from './load.ts'
import { simulateActivity } from './simulation.ts'

const MAX = { rate: 10_000, seconds: 86_400, seed: 2 ** 32 - 1, users: 1_000_000 }
const DEFAULTS = { rate: '200', seconds: '60', seed: '1', users: '200' }

const over = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => over.abort())
try {
  const { rate, seconds, seed, users } = readOptions(process.argv.slice(2))
  // reads the environment, so that what is wrong with the options is said first
  const { redis } = await import('../shared/redis.ts')
  const publish = createActivityPublisher(redis)
  let published = 0
  try {
    const events = simulateActivity({ seed, run: randomUUID().slice(0, 8), users })
    await paced(events, { rate, seconds, signal: over.signal }, async (some) => {
      await publish(some)
      published += some.length
    })
  } finally {
    console.log(`Published ${published} events`)
    await redis.close()
  }
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}

function readOptions(args: string[]) {
  const options = Object.entries(DEFAULTS).map(([name, text]) => [name, { type: 'string', default: text }] as const)
  const { values } = parseArgs({ args, options: Object.fromEntries(options) })
  const numberOf = (name: keyof typeof MAX) => wholeNumber(name, values[name] as string, name === 'seed' ? 0 : 1)
  return { rate: numberOf('rate'), seconds: numberOf('seconds'), seed: numberOf('seed'), users: numberOf('users') }
}

function wholeNumber(name: keyof typeof MAX, text: string, min: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= MAX[name]) return value
  throw new RangeError(`--${name} must be a whole number from ${min} to ${MAX[name]}, got ${JSON.stringify(text)}`)
}
