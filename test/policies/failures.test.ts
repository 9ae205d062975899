import type { PolicyDefinition, RunPolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, describeEverywhere } from './world.ts'

const no = () => {
  throw new Error('shut')
}

const FAILING: Readonly<Record<string, RunPolicy>> = {
  limit: { limit: no },
  riders: { riders: no },
  inspect: { inspect: no },
  questions: { questions: no },
  admit: { admit: no },
  'admit, with no decision': { admit: (jobs) => jobs.map(() => ({ action: 'never' }) as never) },
  holds: { holds: no },
  started: { holds: () => false, started: no },
  ended: { holds: () => false, ended: no },
  'ended, with no decision': { holds: () => false, ended: () => new Map([['1-0', { action: 'never' } as never]]) },
  'ended, with no map': { holds: () => false, ended: () => 1 as never },
  end: { end: no },
}

describeEverywhere('a policy that fails', (start) => {
  it.each([...Object.keys(FAILING), 'begin'])('in %s ends the run with its name, and loses nothing', async (hook) => {
    const world = await start()
    const use: PolicyDefinition = { name: 'broken', begin: () => (hook === 'begin' ? no() : FAILING[hook]) }
    await world.publish('p1', 'p2')

    const error: unknown = await world.poll(billing(() => {}, { use: [use] })).catch((thrown: unknown) => thrown)

    expect(String(error)).toContain('policy "broken" failed: Error: shut'.slice(0, hook.includes(',') ? 23 : 99))
    await world.pass(120_000)
    const calls: string[] = []
    const healthy = billing(({ payload }) => calls.push(payload.id))
    await world.claim(healthy)
    await world.poll(healthy)
    expect(await world.pending()).toEqual([])
  })
})

describeEverywhere('policies that ask', (start) => {
  it('make one request a read, all together, and none where there is nothing to ask about', async () => {
    const asks = (name: string): PolicyDefinition => ({
      name,
      begin: () => ({ questions: (jobs) => jobs.map(() => ['EXISTS', '{orders}:nothing'] as const), admit: () => [] }),
    })
    const world = await start()
    await world.publish('warm')
    await world.poll(billing(() => {}, { use: [asks('one'), asks('two')] }))
    await world.publish('p1', 'p2')
    const plain = await world.poll(billing(() => {}))
    await world.publish('p3', 'p4')

    const asking = await world.poll(billing(() => {}, { use: [asks('one'), asks('two')] }))

    expect([asking.acked, asking.roundTrips - plain.roundTrips]).toEqual([2, 1])
  })
})
