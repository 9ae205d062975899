import type { Connection } from 'millrace'
import { concurrencyLimit, defineConsumer, on, onBatch, rateLimit } from 'millrace'
import { describe, expect, it } from 'vitest'
import { bothSides } from '../support/both-sides.ts'
import { billing, counts, describeEverywhere, Paid, Shipped, WORLDS } from './world.ts'

const HOUR_MS = 3_600_000
const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${n}`)

describeEverywhere('concurrencyLimit()', (start) => {
  it('lets a batch have as many events as there are places', async () => {
    const world = await start()
    const sizes: number[] = []
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [
        onBatch(
          Paid,
          async (events) => {
            sizes.push(events.length)
            await sleep(20)
          },
          { use: [concurrencyLimit({ max: 3 })] },
        ),
      ],
    })
    await world.publish(...names('p', 10))

    await world.poll(consumer)
    for (let round = 0; round < 6 && (await world.pending()).length > 0; round++) {
      await world.pass(2_000)
      await world.claim(consumer)
    }

    expect(Math.max(...sizes)).toBeLessThanOrEqual(3)
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(10)
  })

  it('is one limit for all routes of a consumer', async () => {
    const world = await start()
    let [running, peak] = [0, 0]
    const handle = async () => {
      peak = Math.max(peak, ++running)
      await sleep(10)
      running--
    }
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      routes: [on(Paid, handle), on(Shipped, handle)],
      use: [concurrencyLimit({ max: 2 })],
    })
    await world.publish(...names('p', 6), ...names('s', 6))

    const report = await world.poll(consumer)

    expect([peak, report.invoked]).toEqual([2, 12])
  })

  it('frees places of handlers that fail, and of what was taken off by another deployment', async () => {
    const world = await start()
    const fails = () => {
      throw new Error('no')
    }
    await world.publish(...names('p', 3))
    await world.poll(billing(fails, { use: [concurrencyLimit({ max: 1 })], maxDeliveries: 1 }))
    const calls: string[] = []
    await world.publish(...names('q', 3))
    await world.poll(billing(({ payload }) => calls.push(payload.id), { use: [concurrencyLimit({ max: 2 })] }))
    expect(calls).toEqual(names('q', 3))
    const held = (await world.command('HGETALL', '{orders}:billing:places:*')) as unknown
    expect(JSON.stringify(held)).not.toContain('@')
  })
})

describeEverywhere('rateLimit()', (start) => {
  it('is gone with its definition', async () => {
    const world = await start()
    const calls: string[] = []
    const handler = ({ payload }: { payload: { id: string } }) => void calls.push(payload.id)
    await world.publish(...names('p', 5))
    await world.poll(billing(handler, { use: [rateLimit({ max: 1, perMs: HOUR_MS })] }))
    await world.publish(...names('n', 5))
    await world.poll(billing(handler))
    await world.pass(2 * HOUR_MS)
    for (let round = 0; round < 4; round++) await world.claim(billing(handler))

    expect(calls.toSorted()).toEqual([...names('p', 5), ...names('n', 5)].toSorted())
  })

  it('takes no second turn of one limit where only that of another came too late', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), {
      use: [rateLimit({ max: 1, perMs: HOUR_MS }), rateLimit({ max: 1, perMs: 100 })],
    })
    let asked = 0
    const redis: Connection = {
      group: (address, remainingMs) =>
        bothSides(world.redis.group(address, remainingMs), (both) => ({
          async ask(commands) {
            const replies = await both.ask(commands)
            if (asked++ === 0) await sleep(100)
            return replies
          },
        })),
      close: () => world.redis.close(),
    }
    await world.publish('p1')

    await world.poll(consumer, { redis })

    expect(calls).toEqual(['p1'])
  })

  it('keeps the order of each name, however odd', async () => {
    const world = await start()
    const names = [
      '__proto__',
      'constructor',
      ' ',
      'a b',
      'queue',
      '@x:1',
      '%2F',
      '\n',
      '{x}',
      '🎉'.repeat(256),
      'x'.repeat(1_024),
    ]
    const calls = names.map((): string[] => [])
    const consumer = billing(({ payload }) => calls[Number(payload.key)]?.push(payload.id), {
      use: [rateLimit({ max: 1, perMs: 250, by: ({ payload }) => names[Number((payload as { key: string }).key)] })],
    })
    const rounds = ['p1', 'p2', 'p3', 's4']
    await world.publish(...rounds.flatMap((id) => names.map((_, n) => `${id}/${n}`)))

    const report = await world.poll(consumer)

    expect(calls).toEqual(names.map(() => rounds))
    expect(report).toMatchObject({ acked: 44, retried: 0, deadLettered: 0 })
  })

  it('comes through a clock of the server that was set back', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [rateLimit({ max: 100, perMs: 1_000 })] })
    const later = Date.now() + 24 * HOUR_MS
    await world.command('HSET', '{orders}:billing:rate:*', 'free', later, 'line', later + 50, 'used', later, 'gap', 10)
    await world.publish(...names('p', 20))

    await world.poll(consumer)

    expect(calls).toHaveLength(20)
  })
})

describe.each(Object.entries(WORLDS).filter(([name]) => name !== 'memory'))(
  'rateLimit() on a server, %s',
  (_name, start) => {
    it('gives nothing to a run that lost its slot', async () => {
      const world = await start()
      const calls: string[] = []
      const consumer = billing(({ payload }) => calls.push(payload.id), { use: [rateLimit({ max: 10, perMs: 1_000 })] })
      await world.publish(...names('p', 3))
      const redis: Connection = {
        group: (address, remainingMs) =>
          bothSides(world.redis.group(address, remainingMs), (both) => ({
            async settleAndRead(...args) {
              const read = await both.settleAndRead(...args)
              await world.command('SET', '{orders}:billing:slot:poller-0', 'another')
              return read
            },
          })),
        close: () => world.redis.close(),
      }

      const report = await world.poll(consumer, { redis })

      expect(calls).toEqual([])
      expect(counts(report).invoked).toBeUndefined()
    })

    it('holds where clocks of processes are set', async () => {
      const world = await start()
      const at: number[] = []
      const consumer = billing(() => void at.push(performance.now()), { use: [rateLimit({ max: 10, perMs: 500 })] })
      await world.publish(...names('p', 30))
      const real = Date.now
      const timer = setInterval(() => {
        const off = (Math.random() - 0.5) * HOUR_MS
        Date.now = () => real() + off
      }, 50)
      try {
        await world.poll(consumer)
      } finally {
        clearInterval(timer)
        Date.now = real
      }

      const peak = Math.max(...at.map((from) => at.filter((time) => time >= from && time < from + 500).length))
      expect([at.length, peak <= 10]).toEqual([30, true])
    })
  },
)
