import { concurrencyLimit, rateLimit } from 'millrace'
import { expect, it } from 'vitest'
import { COUNTS, RUNNING } from '../../src/core/due-score.ts'
import { billing, counts, describeEverywhere } from './world.ts'

const HOUR_MS = 3_600_000
const RATE = '{orders}:billing:rate:*'

const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))
const keyOf = ({ payload }: { readonly payload: unknown }) => (payload as { key?: string }).key
const names = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${n}`)

describeEverywhere('rateLimit()', (start) => {
  it('keeps to a new deployment that allows more, though others wait by what was', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = (max: number, perMs: number) =>
      billing(({ payload }) => calls.push(payload.id), { use: [rateLimit({ max, perMs })] })
    await world.publish(...names('p', 5))
    await world.poll(consumer(1, 24 * 365 * HOUR_MS))
    calls.length = 0
    await world.publish(...names('n', 20))

    await world.poll(consumer(100, 1_000))

    expect(calls.toSorted()).toEqual(names('n', 20).toSorted())
  })

  it('keeps to a new deployment that allows less from its first turn', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = (max: number, perMs: number) =>
      billing(({ payload }) => calls.push(payload.id), { use: [rateLimit({ max, perMs })] })
    await world.publish('p1')
    await world.poll(consumer(100, 1_000))
    await world.publish('p2')

    const report = await world.poll(consumer(1, HOUR_MS))

    expect([calls, report.rateLimited]).toEqual([['p1'], 1])
  })

  it('gives who waits first the next turn, not the one after it', async () => {
    const world = await start()
    const consumer = billing(() => {}, { use: [rateLimit({ max: 1, perMs: 600_000 })] })
    await world.publish('p1', 'p2')

    await world.poll(consumer)

    const [free, line] = [await world.command('HGET', RATE, 'free'), await world.command('HGET', RATE, 'line')]
    expect(Number(line)).toBeLessThanOrEqual(Number(free))
  })

  it('gives nobody who comes late the turn for which another waits', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = (mode: 'once' | 'drain') =>
      billing(({ payload }) => calls.push(payload.id), { use: [rateLimit({ max: 1, perMs: 3_000 })], mode })
    await world.publish('p1', 'p2')
    await world.poll(consumer('once'))
    const free = Number(await world.command('HGET', RATE, 'free'))
    while (Date.now() < free - 600) await sleep(20)
    await world.publish('p3')
    await world.poll(consumer('drain'))
    while ((await world.pending()).length > 1) {
      await sleep(50)
      await world.claim(consumer('drain'))
    }

    expect(calls).toEqual(['p1', 'p2'])
  })

  it('delays no other name by one that waits for its own limit, where both share another', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.key ?? ''), {
      use: [rateLimit({ max: 1, perMs: HOUR_MS, by: keyOf }), rateLimit({ max: 20, perMs: 1_000 })],
    })
    await world.publish(...names('p', 80).map((id) => `${id}/a`))
    await world.poll(consumer)
    await world.publish(...names('q', 10).map((id) => `${id}/b${id}`))

    await world.poll(consumer)

    expect(calls).toHaveLength(11)
  })

  it('takes a limit for what it is again once late handlers are long ago', async () => {
    const world = await start()
    await world.command('HSET', RATE, 'free', 1, 'line', 0, 'used', 1, 'late', 60_000)
    await world.publish('p1')

    await world.poll(billing(() => {}, { use: [rateLimit({ max: 1, perMs: 60_000 })] }))

    expect(Number(await world.command('HGET', RATE, 'free')) - Date.now()).toBeLessThan(90_000)
  })

  it('brings back within an hour what waits for a turn that is a year away', async () => {
    const world = await start()
    const consumer = billing(() => {}, { use: [rateLimit({ max: 1, perMs: 24 * 365 * HOUR_MS })] })
    await world.publish('p1', 'p2', 'p3')
    await world.poll(consumer)

    const late = await world.command(
      'ZRANGEBYSCORE',
      '{orders}:billing:due',
      (Date.now() + 1.01 * HOUR_MS) * COUNTS,
      RUNNING - 1,
    )

    expect((await world.pending()).map(([id]) => id)).toEqual(['p2', 'p3'])
    expect(late).toEqual([])
  })

  it('starts all that waited through a time without any run, and what came after', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = (options: object = {}) =>
      billing(({ payload }) => calls.push(payload.id), { use: [rateLimit({ max: 5, perMs: 500 })], ...options })
    await world.publish(...names('p', 25))
    await world.poll(consumer({ mode: 'once' }))
    const started = calls.length
    await world.pass(60_000)
    await sleep(2_500)
    await world.publish(...names('n', 10))

    await world.poll(consumer())
    for (let round = 0; round < 10 && calls.length < 35; round++) await world.claim(consumer())

    expect(started).toBeLessThan(20)
    expect(calls.toSorted()).toEqual([...names('p', 25), ...names('n', 10)].toSorted())
  })

  it('is met by what `by` throws that is no error', async () => {
    const world = await start()
    const throwing = (value: unknown) => () => {
      throw value
    }
    const odd = {
      get name() {
        throw new Error('no')
      },
      get message() {
        throw new Error('no')
      },
    }
    for (const value of [undefined, null, 0, '', odd, Object.create(null)]) {
      await world.publish('p1')
      const report = await world.poll(billing(() => {}, { use: [concurrencyLimit({ max: 1, by: throwing(value) })] }))
      expect(counts(report)).toEqual({ read: 1, deadLettered: 1 })
    }
  })
})
