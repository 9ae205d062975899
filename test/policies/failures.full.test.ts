import type { Policy, RunPolicy } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere } from './world.ts'

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
  ...Object.fromEntries(
    ['limit', 'riders', 'inspect', 'questions', 'admit', 'holds', 'started', 'ended', 'dueAt', 'end'].map((hook) => [
      `${hook}, with a promise that fails`,
      { [hook]: () => Promise.reject(new Error('shut')) },
    ]),
  ),
  'a hook that is async': { admit: async () => [] } as never,
  'a hook that there is not': { admitt: () => [] } as never,
  'a hook that is no function': { admit: 5 } as never,
  'limit, with no number': { limit: () => Number.NaN },
  'dueAt, with no time': { dueAt: () => Number.NaN },
  'admit, with more than was asked': { admit: (jobs) => [...jobs, ...jobs].map(() => undefined) },
  ...Object.fromEntries(
    [
      { action: 'park', delayMs: Infinity },
      { action: 'park', delayMs: '50' },
      { action: 'park', delayMs: 50n },
      { action: 'deadLetter', reason: 'because', error: new Error('no') },
      { action: 'deadLetter', reason: Symbol('reason'), error: new Error('no') },
    ].flatMap((decision, n) => [
      [`admit, with wrong decision ${n}`, { admit: (jobs) => jobs.map(() => decision as never) }],
      [`inspect, with wrong decision ${n}`, { inspect: () => decision as never }],
    ]) satisfies [string, RunPolicy][],
  ),
  ...Object.fromEntries(
    [
      5,
      [[]],
      ['EXISTS {orders}:x'],
      [['MULTI']],
      [['CLIENT', 'REPLY', 'OFF']],
      [['BLPOP', '{orders}:list', 0]],
      [['SUBSCRIBE', '{orders}:channel']],
      [['GET', 'elsewhere']],
      [['SET', '{orders}:x', undefined]],
      [['SET', '{orders}:x', Number.NaN]],
      [['DEL', 'orders']],
      [['XGROUP', 'DESTROY', 'orders', 'billing']],
      [['DEL', '{orders}:billing:slot:poller-0']],
    ].flatMap((commands, n) =>
      ['riders', 'questions', 'end'].map((hook) => [`${hook}, with wrong commands ${n}`, { [hook]: () => commands }]),
    ),
  ),
}

describeEverywhere('a policy that fails', (start) => {
  it.each([...Object.keys(FAILING), 'begin'])('in %s ends the run with its name, and loses nothing', async (hook) => {
    const world = await start()
    const use = definePolicy({ name: 'broken', begin: () => (hook === 'begin' ? no() : FAILING[hook]) })
    await world.publish('p1', 'p2')

    const error: unknown = await world.poll(billing(() => {}, { use: [use] })).catch((thrown: unknown) => thrown)

    const isThrown = !/,|a hook/.test(hook)
    expect(String(error)).toContain(isThrown ? 'policy "broken" failed: Error: shut' : 'policy "broken" failed')
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
    const asks = (name: string): Policy =>
      definePolicy({
        name,
        begin: () => ({
          questions: (jobs) => jobs.map(() => ['EXISTS', '{orders}:nothing'] as const),
          admit: () => [],
        }),
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

describeEverywhere('a policy', (start) => {
  it('hears of the starts and ends of calls where it holds nothing back', async () => {
    const world = await start()
    const told: unknown[] = []
    const use = definePolicy({
      name: 'follows',
      begin: () => ({
        started: ({ event }) => void told.push(event?.type),
        ended: (_job, isDone) => void told.push(isDone),
      }),
    })
    await world.publish('p1')

    await world.poll(billing(() => {}, { use: [use] }))

    expect(told).toEqual(['Paid', true])
  })

  it('does not change what is decided about by changing the list that it is asked about', async () => {
    const world = await start()
    const use = definePolicy({
      name: 'takes',
      begin: () => ({
        questions(jobs) {
          ;(jobs as unknown[]).splice(0)
          return []
        },
        admit: (jobs) => jobs.map(() => ({ action: 'ignore' })),
      }),
    })
    await world.publish('p1', 'p2')

    expect(counts(await world.poll(billing(() => {}, { use: [use] })))).toEqual({ read: 2, ignored: 2 })
  })

  it('may decide about a thousand that hang on each other', async () => {
    const world = await start()
    let ids: readonly string[] = []
    const use = definePolicy({
      name: 'chain',
      begin: () => ({
        admit(jobs) {
          ids = jobs.map(({ entryId }) => entryId)
          return []
        },
        holds: ({ entryId }) => entryId !== ids[0],
        ended({ entryId }) {
          const after = ids[ids.indexOf(entryId) + 1]
          return after === undefined ? undefined : new Map([[after, { action: 'ignore' } as const]])
        },
      }),
    })
    await world.publish(...Array.from({ length: 1_000 }, (_, n) => `p${n}`))

    const report = await world.poll(billing(() => {}, { use: [use], batchSize: 1_000 }))

    expect(counts(report)).toEqual({ read: 1_000, acked: 1, ignored: 999, invoked: 1 })
  })

  it('that holds all back has it released as soon as somebody asks to stop', async () => {
    const world = await start()
    const stop = new AbortController()
    const use = definePolicy({
      name: 'closed',
      begin: () => ({
        holds: () => {
          setTimeout(() => stop.abort())
          return true
        },
      }),
    })
    await world.publish('p1')
    const startedAt = performance.now()

    const consumer = billing(() => {}, { use: [use], mode: 'once', handlerTimeoutMs: 1_000, reserveMs: 1_000 })
    const report = await world.poll(consumer, { signal: stop.signal })

    expect(counts(report)).toEqual({ read: 1, released: 1 })
    expect(await world.pending()).toEqual([['p1', 'parked', 0]])
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })

  it('whose last commands are refused ends the run in an error', async () => {
    const world = await start()
    await world.command('SET', '{orders}:text', 'no set')
    const use = definePolicy({ name: 'last', begin: () => ({ end: () => [['SADD', '{orders}:text', 'x']] }) })

    await expect(world.poll(billing(() => {}, { use: [use] }))).rejects.toThrow('WRONGTYPE')
  })
})
