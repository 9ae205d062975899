import type { Policy } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

/** Acknowledges entries of a type without a call, and without decoding them. */
function ignores(type: string): Policy {
  return definePolicy({
    name: 'ignores',
    begin: () => ({
      inspect({ fields }) {
        const isOfType = fields.some(([name, value]) => String(name) === 'eventType' && String(value) === type)
        return isOfType ? { action: 'ignore' } : undefined
      },
    }),
  })
}

describeEverywhere('a policy that ignores a type', (start) => {
  it('acknowledges it without a call, counts it, and calls the others', async () => {
    const world = await start()
    const calls: string[] = []
    await world.publish('p1', 's1', 'p2', 's2')

    const report = await world.poll(billing(({ payload }) => calls.push(payload.id), { use: [ignores('Shipped')] }))

    expect(calls).toEqual(['p1', 'p2'])
    expect(counts(report)).toEqual({ read: 4, acked: 2, ignored: 2, invoked: 2 })
    expect(await world.pending()).toEqual([])
  })

  it('finds what a process read and left behind by dying', async () => {
    const world = await start()
    await world.publish('s1', 'p1')
    await world.command('XGROUP', 'CREATE', 'orders', 'billing', '0').catch(() => {})
    const died = billing(() => {
      throw new Error('no')
    })
    await world.poll(died)
    await world.pass(60_000)
    const calls: string[] = []

    const report = await world.claim(billing(({ payload }) => calls.push(payload.id), { use: [ignores('Shipped')] }))

    expect(calls).toEqual(['p1'])
    expect(counts(report)).toEqual({ claimed: 2, acked: 1, ignored: 1, invoked: 1 })
  })

  it.each([1, 2])('calls for none of it though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    await world.publish('p1', 's1')

    await loseAnswer(
      world,
      billing(({ payload }) => calls.push(payload.id), { use: [ignores('Shipped')] }),
      { nth },
    )

    expect(calls).toEqual(['p1'])
  })
})
