import type { PolicyReply } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

/** Leaves types alone that are in a set in Redis: asked with each read, and by the server in the step that starts an entry. */
const pausesTypes = definePolicy({
  name: 'pausesTypes',
  guard: () => ({ key: '{orders}:paused', holds: 'types' }),
  needs: () => ({ keys: [{ key: '{orders}:paused', commands: ['smembers', 'sismember'] }] }),
  begin() {
    let paused: readonly PolicyReply[] = []
    return {
      riders: () => [['SMEMBERS', '{orders}:paused']],
      answered([reply]) {
        if (reply instanceof Error) throw reply
        paused = reply as readonly PolicyReply[]
      },
      admit: (jobs) =>
        jobs.map(({ event }) => (paused.includes(event?.type ?? '') ? { action: 'park', delayMs: 60_000 } : undefined)),
    }
  },
})

describeEverywhere('a policy that pauses a type by a key in Redis', (start) => {
  it('parks what is read of it, starts nothing claimed, and goes on without it', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [pausesTypes] })
    await world.publish('s1', 'p1')
    await world.command('SADD', '{orders}:paused', 'Shipped')

    const paused = counts(await world.poll(consumer))
    await world.pass(120_000)
    const claimed = counts(await world.claim(consumer))
    const left = await world.pending()
    await world.command('SREM', '{orders}:paused', 'Shipped')
    await world.pass(120_000)
    const resumed = counts(await world.claim(consumer))

    expect(paused).toEqual({ read: 2, acked: 1, parked: 1, invoked: 1 })
    expect(claimed).toEqual({})
    expect(left).toEqual([['s1', 'parked', 0]])
    expect(resumed).toEqual({ claimed: 1, acked: 1, invoked: 1 })
    expect(calls).toEqual(['p1', 's1'])
  })

  it('ends the run with its error where the key is of another type, and loses nothing', async () => {
    const world = await start()
    await world.publish('p1')
    await world.command('SET', '{orders}:paused', 'oops')

    const error: unknown = await world
      .poll(billing(() => {}, { use: [pausesTypes] }))
      .catch((thrown: unknown) => thrown)

    expect(String(error)).toContain('policy "pausesTypes" failed')
    expect(await world.pending()).toEqual([['p1', 'parked', 0]])
  })

  it.each([1, 2])('starts none of it while it is paused though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    let isPaused = true
    const consumer = billing(({ payload }) => calls.push(`${payload.id}${isPaused ? ' while paused' : ''}`), {
      use: [pausesTypes],
    })
    await world.publish('s1', 'p1')
    await world.command('SADD', '{orders}:paused', 'Shipped')
    const change = async () => {
      isPaused = false
      await world.command('SREM', '{orders}:paused', 'Shipped')
    }

    await loseAnswer(world, consumer, { nth, change })

    expect(calls.toSorted().at(-1)).toBe('s1')
    expect(calls).toHaveLength(2)
  })
})
