import { setTimeout as delay } from 'node:timers/promises'
import type { Wrap } from 'millrace'
import { defineConsumer, definePolicy, onBatch } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, Paid } from './world.ts'

/** The handler fails a turn after its start. */
async function failing(): Promise<never> {
  await delay(1)
  throw new Error('no')
}

describeEverywhere('a wrap', (start) => {
  it.each([
    ['an event', (use: Wrap[]) => billing(failing, { use })],
    [
      'a batch',
      (use: Wrap[]) =>
        defineConsumer({
          stream: 'orders',
          group: 'billing',
          routes: [onBatch(Paid, failing)],
          use,
          backoff: { firstMs: 0 },
        }),
    ],
  ])('that ends after an ignored next of %s has failed with it', async (_title, define) => {
    const world = await start()
    const use: Wrap = (next) => async (event, context) => {
      void next(event, context)
      await delay(30)
    }
    await world.publish('p1')

    const report = await world.poll(define([use]))

    expect(counts(report)).toEqual({ read: 1, retried: 1, invoked: 1 })
  })

  it('that catches what next failed with decides for itself', async () => {
    const world = await start()
    const use: Wrap = (next) => async (event, context) => {
      await Promise.allSettled([next(event, context)])
    }
    await world.publish('p1')

    expect(counts(await world.poll(billing(failing, { use: [use] })))).toEqual({ read: 1, acked: 1, invoked: 1 })
  })

  it('cannot start the handler after its end, nor twice, and ends no process by trying', async () => {
    const world = await start()
    const calls: string[] = []
    const late = Promise.withResolvers<PromiseSettledResult<unknown>[]>()
    const use: Wrap = (next) => (event, context) => {
      const again = () => Promise.allSettled([next(event, context), next(event, context)])
      setTimeout(() => {
        void next(event, context) // nobody awaits it
        again().then(late.resolve, late.reject)
      }, 1)
    }
    await world.publish('p1')

    const report = await world.poll(billing(({ payload }) => calls.push(payload.id), { use: [use] }))

    expect(counts(report)).toEqual({ read: 1, acked: 1, invoked: 1 })
    expect((await late.promise).map((end) => String((end as PromiseRejectedResult).reason))).toEqual([
      'TypeError: Cannot call the handler: next must be called before its wrap ends',
      'TypeError: Cannot call the handler: next must be called before its wrap ends',
    ])
    expect(calls).toEqual([])
  })

  it("cannot start the handler after the handler's time", async () => {
    const world = await start()
    const calls: string[] = []
    const ended = Promise.withResolvers<unknown>()
    const use: Wrap = (next) => async (event, context) => {
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
      await Promise.resolve(next(event, context)).catch(ended.resolve)
    }
    await world.publish('p1')

    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [use], handlerTimeoutMs: 50 })
    const report = await world.poll(consumer)

    expect(counts(report)).toEqual({ read: 1, retried: 1, invoked: 1 })
    expect(String(await ended.promise)).toBe('TypeError: Cannot call the handler: its time is over')
    expect(calls).toEqual([])
  })

  it('may be a method of an instance', async () => {
    class Counting {
      readonly name = 'counting'
      wrap(next: Parameters<Wrap>[0]): ReturnType<Wrap> {
        return (event, context) => {
          names.push(this.name)
          return next(event, context)
        }
      }
    }
    const names: string[] = []
    const world = await start()
    await world.publish('p1')

    await world.poll(billing(() => {}, { use: [definePolicy(new Counting())] }))

    expect(names).toEqual(['counting'])
  })
})
