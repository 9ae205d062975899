import type { Policy, PolicyCommand, PolicyJob } from 'millrace'
import { defineConsumer, definePolicy, onBatch } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, Paid } from './world.ts'

const joining = (joins: (job: PolicyJob) => unknown): Policy =>
  definePolicy({
    name: 'joining',
    begin: () => ({ joins: (job) => joins(job) as PolicyCommand[] }),
  })

/** Each has a first command that nothing is wrong with. */
const WRONG: Readonly<Record<string, readonly unknown[]>> = {
  'no arguments': [['SADD', '{orders}:s']],
  'a score that is none': [['ZADD', '{orders}:z', 'many', 'm']],
  'a field without a value': [['HSET', '{orders}:h', 'a', 'b', 'c']],
  'no time to live': [['SET', '{orders}:t', 'x', 'PX', 0]],
  'an option of SET that is none': [['SET', '{orders}:t', 'x', 'SOON']],
  'half a millisecond': [['PEXPIRE', '{orders}:first', 1.5]],
  'an id of its own': [['XADD', '{orders}:x', '0-0', 'a', 'b']],
  'two types of one key': [['SADD', '{orders}:first', 'x']],
  'two keys': [['DEL', '{orders}:a', 'elsewhere']],
  'the stream': [['DEL', 'orders']],
  'the lease': [['SET', '{orders}:billing:slot:poller-0', 'x']],
  'the due times': [['ZADD', '{orders}:billing:due', 1, '1-1']],
  'a name of every object': [['constructor', '{orders}:c']],
  'an undefined value': [['SET', '{orders}:t', undefined]],
  'a Buffer': [['SET', '{orders}:t', Buffer.from('x')]],
  'more than a request takes': [['SADD', '{orders}:s', ...Array.from({ length: 4_000 }, String)]],
}

describeEverywhere('what joins an acknowledgement', (start) => {
  it.each(Object.keys(WRONG))(
    'with %s is refused whole: the entry has failed, and nothing is written',
    async (wrong) => {
      const world = await start()
      const commands = [['SET', '{orders}:first', 'x'], ...(WRONG[wrong] ?? [])]
      await world.publish('p1')

      const report = await world.poll(billing(() => {}, { use: [joining(() => commands)] }))

      expect(counts(report)).toEqual({ read: 1, retried: 1, invoked: 1 })
      expect(await world.command('EXISTS', '{orders}:first')).toBe(0)
      expect(await world.pending()).toEqual([['p1', 'parked', 1]])
    },
  )

  it('may be all that takes place in one step', async () => {
    const world = await start()
    const commands = [
      ['SET', '{orders}:a', 'x', 'NX', 'EX', 100],
      ['set', '{orders}:b', '', 'px', '100000', 'xx'],
      ['PEXPIRE', '{orders}:a', 200_000],
      ['ZADD', '{orders}:z', -1.5, 'm', '+inf', 'n', 1e21, 'o'],
      ['HSET', '{orders}:h', 'a', 'b'],
      ['XADD', '{orders}:x', 'MAXLEN', '=', 1, '*', 'a', '*'],
      ['XADD', '{orders}:x', 'MAXLEN', 1, '*', 'a', 'b'],
      ['DEL', '{orders}:gone'],
      ...Array.from({ length: 300 }, (_, n) => ['SADD', '{orders}:s', n]),
    ]
    await world.publish('p1')

    const report = await world.poll(billing(() => {}, { use: [joining(() => commands)] }))

    expect(counts(report)).toEqual({ read: 1, acked: 1, invoked: 1 })
    const keys = ['a', 'b', 'z', 'h', 'x', 's', 'gone']
    const found = await Promise.all(keys.map((key) => world.command('EXISTS', `{orders}:${key}`)))
    expect(found).toEqual([1, 0, 1, 1, 1, 1, 0])
  })

  it('and throws for one event of a batch fails that event alone', async () => {
    const world = await start()
    const use = joining(({ event }) => {
      if (event?.eventId === 'p2') throw new Error('no')
      return [['SET', `{orders}:${event?.eventId}`, 'x']]
    })
    await world.publish('p1', 'p2', 'p3')

    const report = await world.poll(
      defineConsumer({ stream: 'orders', group: 'billing', routes: [onBatch(Paid, () => {})], use: [use] }),
    )

    expect(counts(report)).toEqual({ read: 3, acked: 2, retried: 1, invoked: 3 })
    const found = await Promise.all(['p1', 'p2', 'p3'].map((id) => world.command('EXISTS', `{orders}:${id}`)))
    expect(found).toEqual([1, 0, 1])
  })
})
