import type { PolicyCommand, PolicyReply } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

const DELAYED = '{orders}:delayed'

/** Moves what is due in a sorted set to the stream while polling: what one read finds, the next one adds, and waits for what is due soon. */
const promotes = definePolicy({
  name: 'promotes',
  begin(run) {
    let due: readonly string[] = []
    return {
      riders: (): readonly PolicyCommand[] => [
        ...due.flatMap((payload): PolicyCommand[] => [
          ['XADD', 'orders', '*', 'eventType', 'Paid', 'payload', payload],
          ['ZREM', DELAYED, payload],
        ]),
        ['ZRANGEBYSCORE', DELAYED, '-inf', run.now()],
      ],
      answered(replies) {
        due = (replies.at(-1) as readonly PolicyReply[]).map(String)
      },
      dueAt: () => (due.length > 0 ? run.now() : undefined),
    }
  },
})

describeEverywhere('a policy that promotes entries of a sorted set while polling', (start) => {
  it('has them read by the run that found them due, and leaves the rest', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [promotes] })
    await world.command('ZADD', DELAYED, 1, '{"id":"now"}')
    await world.command('ZADD', DELAYED, Date.now() + 3_600_000, '{"id":"later"}')
    await world.publish('p1')

    const report = await world.poll(consumer)

    expect(calls).toEqual(['p1', 'now'])
    expect(counts(report)).toEqual({ read: 2, acked: 2, invoked: 2 })
    expect(await world.command('ZRANGEBYSCORE', DELAYED, '-inf', '+inf')).toEqual(['{"id":"later"}'])
  })

  it.each([1, 2, 3])('adds each once though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [promotes] })
    await world.command('ZADD', DELAYED, 1, '{"id":"now"}')
    await world.publish('p1')

    await loseAnswer(world, consumer, { nth })

    expect(calls.toSorted()).toEqual(['now', 'p1'])
    expect(await world.command('EXISTS', DELAYED)).toBe(0)
  })
})
