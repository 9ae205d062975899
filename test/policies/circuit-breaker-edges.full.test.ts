import { circuitBreaker, concurrencyLimit, defineConsumer, onBatch } from 'millrace'
import { expect, it } from 'vitest'
import { billing, describeEverywhere, Paid } from './world.ts'

const HOUR_MS = 3_600_000
const BREAKERS = '{orders}:billing:breakers'
const opening = { failures: 1, perMs: HOUR_MS, probeAfterMs: HOUR_MS }
const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms))

describeEverywhere('circuitBreaker(), at its edges', (start) => {
  it('stays open though the entry that would be its probe finds no place', async () => {
    const world = await start()
    const probes: unknown[] = []
    const consumer = billing(
      async () => {
        probes.push(await world.command('HGET', BREAKERS, 'probe Paid'))
        throw new Error('out')
      },
      {
        use: [
          circuitBreaker(opening),
          concurrencyLimit({ max: 1, by: ({ payload }) => (payload as { key?: string }).key }),
        ],
        concurrency: 1,
        mode: 'once',
      },
    )
    await world.command('HSET', '{orders}:billing:places:*:a', '@poller-3:other:1-0', Date.now() + HOUR_MS)
    await world.command('HSET', BREAKERS, 'opened Paid', 1, 'until Paid', 1, 'error Paid', 'Error')
    await world.publish('p1/a', 'p2', 'p3')

    await world.poll(consumer)

    expect(probes).toEqual([expect.stringMatching(/^\d+-\d+$/)])
  })

  it('tries the next entry once the lease of a probe is over whose process died', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [circuitBreaker(opening)] })
    const open = ['opened Paid', 1, 'until Paid', 1, 'error Paid', 'Error']
    await world.command('HSET', BREAKERS, ...open, 'probe Paid', '1-1', 'held Paid', Date.now() + 600)
    await world.publish('p1', 'p2')
    await world.poll(consumer)
    const whileHeld = [...calls]
    await sleep(700)

    await world.claim(consumer)

    const until = await world.command('HGET', BREAKERS, 'until Paid')
    expect([whileHeld, calls.slice(0, 1), until]).toEqual([[], ['p1'], null])
  })

  it('ends a probe that failed in a batch of others', async () => {
    const world = await start()
    const sizes: number[] = []
    const consumer = defineConsumer({
      stream: 'orders',
      group: 'billing',
      mode: 'listen',
      handlerTimeoutMs: 500,
      reserveMs: 200,
      routes: [
        onBatch(
          Paid,
          (events) => {
            sizes.push(events.length)
            throw new Error('out')
          },
          { maxBatchingWindowMs: 1_000 },
        ),
      ],
      use: [circuitBreaker({ ...opening, failures: 10 })],
    })
    const listening = world.poll(consumer, { remainingMs: 3_500 })
    await sleep(100)
    await world.publish('p1')
    await sleep(300)
    await world.command('HSET', BREAKERS, 'opened Paid', 1, 'until Paid', 1, 'error Paid', 'Error')
    await world.publish('p2')
    await listening

    const fields = await Promise.all(
      ['probe', 'held', 'until'].map((name) => world.command('HGET', BREAKERS, `${name} Paid`)),
    )
    expect(sizes).toEqual([2])
    expect(fields.slice(0, 2)).toEqual([null, null])
    expect(Number(fields[2])).toBeGreaterThan(Date.now() + HOUR_MS / 2)
  })

  it.each([
    ['does not say at once', () => Promise.reject(new Error('late'))],
    [
      'throws about',
      () => {
        throw undefined
      },
    ],
  ])('counts what `when` %s, whatever becomes of it', async (_, answer) => {
    const world = await start()
    const when = answer as unknown as () => boolean
    const consumer = billing(
      () => {
        throw new Error('out')
      },
      { use: [circuitBreaker({ ...opening, when })] },
    )
    await world.publish('p1')

    expect((await world.poll(consumer)).circuitOpen).toBe(1)
  })

  it('is known to observers of the call that it sets aside', async () => {
    const world = await start()
    const told: unknown[] = []
    const consumer = billing(
      () => {
        throw new Error('out')
      },
      { use: [circuitBreaker(opening)], concurrency: 1, mode: 'once' },
    )
    const observer = {
      handlerEnded: ({ outcomes }: { outcomes: readonly { kind: string }[] }) => told.push(outcomes[0]?.kind),
    }
    await world.publish('p1')

    await world.poll(consumer, { observe: [observer] } as object)

    expect(told).toEqual(['park'])
  })
})
