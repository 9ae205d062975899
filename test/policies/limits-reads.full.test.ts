import type { PolicyRun } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere } from './world.ts'

describeEverywhere('a policy that limits reads', (start) => {
  it('has a claimer claim nothing at 0', async () => {
    const world = await start()
    const fails = new Set(['p1', 'p2'])
    const handler = ({ payload }: { payload: { id: string } }) => {
      if (fails.delete(payload.id)) throw new Error('not yet')
    }
    await world.publish('p1', 'p2')
    await world.poll(billing(handler))
    await world.pass(120_000)
    const nothing = definePolicy({ name: 'nothing', begin: () => ({ limit: () => 0 }) })

    const vetoed = counts(await world.claim(billing(handler, { use: [nothing] })))
    const after = counts(await world.claim(billing(handler)))

    expect(vetoed).toEqual({})
    expect(after).toEqual({ claimed: 2, acked: 2, invoked: 2 })
  })

  it('reads nothing where its answer becomes 0 just before the read', async () => {
    const world = await start()
    let asked = 0
    const closes = definePolicy({ name: 'closes', begin: () => ({ limit: () => (++asked === 1 ? 10 : 0) }) })
    await world.publish('p1')

    expect(counts(await world.poll(billing(() => {}, { use: [closes] })))).toEqual({})
  })

  it('ends its wait when the run is aborted', async () => {
    const world = await start()
    const waits = definePolicy({
      name: 'waits',
      begin: (run) => ({ limit: () => 0, dueAt: () => run.now() + 6_000 }),
    })
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 100)
    const startedAt = performance.now()

    await world.poll(
      billing(() => {}, { use: [waits] }),
      { signal: controller.signal },
    )

    expect(performance.now() - startedAt).toBeLessThan(4_000)
  })

  it('ends its wait by resume(), and learns by its riders that it may go on', async () => {
    const world = await start()
    let isOpen = false
    let dueAt = Date.now() + 6_000
    let begun: PolicyRun | undefined
    const doors = definePolicy({
      name: 'doors',
      begin: (run) => {
        begun = run
        return {
          limit: () => (isOpen ? 10 : 0),
          dueAt: () => dueAt,
          riders: () => [['EXISTS', '{orders}:open']],
          answered([reply]) {
            isOpen = reply === 1
            dueAt = Infinity
          },
        }
      },
    })
    await world.publish('p1')
    setTimeout(() => {
      void world.command('SET', '{orders}:open', 1).then(() => {
        dueAt = 0
        begun?.resume()
      })
    }, 100)
    const startedAt = performance.now()

    const report = await world.poll(billing(() => {}, { use: [doors] }))

    expect(counts(report)).toEqual({ read: 1, acked: 1, invoked: 1 })
    expect(performance.now() - startedAt).toBeLessThan(4_000)
  })
})
