import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Random } from '../../../demo/random.ts'

const PAUSE_MS = 10
const PAGE = 500

/** One in so many turns is an entry's: its two copies are seldom neighbours, and some come a second late. */
const TURNS = [1, 2, 4, 4, 8, 100]

interface Held {
  readonly fields: string[]
  readonly turns: number
}

/** Hands on what was held, each entry twice, in another sequence, and some of it late; what was delayed, once more. */
export interface Relay {
  /** Whether nothing is held back. */
  isEmpty(): Promise<boolean>
  stop(): Promise<void>
}

export function startRelay(raw: Redis, random: Random): Relay {
  let isStopped = false
  let held: Held[] = []
  let [atHeld, atTimeout] = ['0', '0']

  function hold(fields: string[], copies: number): void {
    for (let copy = 0; copy < copies; copy++) held.push({ fields, turns: random.pick(TURNS) })
  }
  async function take(): Promise<void> {
    for (const [id, fields] of await raw.xrange('{checkout}:held', `(${atHeld}`, '+', 'COUNT', PAGE)) {
      hold(fields, 2)
      atHeld = id
    }
    for (const [id, fields] of await raw.xrange('checkout', `(${atTimeout}`, '+', 'COUNT', PAGE)) {
      const isFirst = fields.includes('OrderTimedOut') && !fields.includes('again')
      if (isFirst) hold([...fields, 'again', 'again'], 1)
      atTimeout = id
    }
  }
  async function run(): Promise<void> {
    while (!isStopped) {
      await take()
      const { now = [], later = [] } = Object.groupBy(held, ({ turns }) => (random.integer(0, turns) ? 'later' : 'now'))
      held = later
      const pipeline = raw.pipeline()
      for (const { fields } of shuffled(now, random)) pipeline.xadd('checkout', '*', ...fields)
      await pipeline.exec()
      await sleep(PAUSE_MS)
    }
  }
  const running = run()
  return {
    async isEmpty() {
      const [last] = await raw.xrevrange('{checkout}:held', '+', '-', 'COUNT', 1)
      return held.length === 0 && (last?.[0] ?? '0') === atHeld
    },
    async stop() {
      isStopped = true
      await running
    },
  }
}

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => [random.integer(0, 2 ** 30), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item)
}
