import { claim, createPublisher, defineConsumer, NonRetryableError, on, poll } from 'millrace'
import type { JanitorStream } from 'millrace/janitor'
import {
  createJanitor,
  JanitorFailedError,
  keepEntriesFrom,
  registerGroups,
  runJanitor,
  unregisterGroups,
} from 'millrace/janitor'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { OrderPaid } from '../support/consumer.ts'
import { memoryArchive, startWorld } from './keeper.ts'

const ORDERS: JanitorStream = { stream: 'orders', groups: { billing: { owner: 'team-billing' } } }
const BOTH: JanitorStream = {
  stream: 'orders',
  groups: { billing: { owner: 'team-billing' }, search: { owner: 'team-search' } },
}
const consumerOf = (group: string, handle: () => unknown = () => {}) =>
  defineConsumer({ stream: 'orders', group, routes: [on(OrderPaid, handle as never)], backoff: { firstMs: 0 } })

describe.each(['memory', 'redis'] as const)('a janitor, %s', (kind) => {
  it('archives and trims what all groups have done, and adds up', async () => {
    const { redis, publish, read, ids } = await startWorld(kind)
    const published = await publish('a', 'b', 'c')
    await read('billing')
    const [late] = await publish('d')
    const { archive, ids: archived, objects } = memoryArchive()

    const report = await runJanitor(ORDERS, { redis, archive, rangeEntries: 2 })

    expect(report).toMatchObject({
      action: 'trim',
      archived: 3,
      resumed: 0,
      trimmed: 3,
      gone: 0,
      held: 0,
      kept: 1,
      ranges: 2,
      drained: true,
      trimmedAhead: 0,
    })
    expect(await archived()).toEqual(published)
    expect(await ids()).toEqual([late])
    expect([...objects.keys()][0]).toBe(`orders/${published[0]}_${published[1]}.ndjson.gz`)
    expect(report.streams[0]?.blockers).toMatchObject([{ name: 'billing', reason: 'unread', isRegistered: true }])
  })

  it('without an archive only trims', async () => {
    const { redis, publish, read, ids } = await startWorld(kind)
    await publish('a', 'b', 'c')
    await read('billing')

    const report = await runJanitor(ORDERS, { redis })

    expect(report).toMatchObject({ archived: 0, trimmed: 3, kept: 0, ranges: 1 })
    expect(await ids()).toEqual([])
  })

  it('waits for a slow group, and says since when', async () => {
    const { redis, publish, read, ids, passBlocked } = await startWorld(kind)
    const published = await publish('a', 'b')
    await read('search')
    await publish('c', 'd')
    await read('billing')

    const report = await runJanitor(BOTH, { redis })

    expect(report).toMatchObject({ trimmed: 2, kept: 2 })
    expect(await ids()).toHaveLength(2)
    expect(report.streams[0]?.blockers).toEqual([
      { name: 'search', reason: 'unread', isRegistered: true, doneId: published[1], sinceMs: expect.any(Number) },
    ])
    await passBlocked('since:search')
    const again = await runJanitor(BOTH, { redis })
    expect(Math.floor((again.streams[0]?.blockers[0]?.sinceMs ?? 0) / 3_600_000)).toBe(1)
    await read('search')
    expect(await runJanitor(BOTH, { redis })).toMatchObject({ trimmed: 2, kept: 0, streams: [{ blockers: [] }] })
    await publish('e')
    await read('billing')
    const anew = await runJanitor(BOTH, { redis })
    expect(Math.floor((anew.streams[0]?.blockers[0]?.sinceMs ?? Infinity) / 3_600_000)).toBe(0)
  })

  it('keeps what is in hand or set aside, until it is done', async () => {
    const { redis, publish, read, ids, passDue } = await startWorld(kind)
    const [, failed, later] = await publish('a', 'fails', 'b')
    await read('billing', (orderId) => {
      if (orderId === 'fails') throw new Error('not now')
    })

    expect(await runJanitor(ORDERS, { redis })).toMatchObject({
      trimmed: 1,
      streams: [{ blockers: [{ name: 'billing', reason: 'pending' }] }],
    })
    expect(await ids()).toEqual([failed, later])
    await passDue()
    await claim(consumerOf('billing'), { redis, remainingMs: 20_000, lingerMs: 0 })
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 2, kept: 0 })
  })

  it('a group that nobody registered counts, and is named; an ignored one does not', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a')
    await read('console')
    await publish('b')
    await read('billing')

    expect(await runJanitor(ORDERS, { redis })).toMatchObject({
      trimmed: 1,
      streams: [{ unregistered: ['console'], blockers: [{ name: 'console', isRegistered: false }] }],
    })
    expect(await runJanitor({ ...ORDERS, ignoreGroups: ['console'] }, { redis })).toMatchObject({
      trimmed: 1,
      streams: [{ unregistered: [], blockers: [] }],
    })
  })

  it('what is above the mark of a group stays, though the group has done it', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a')
    await read('billing')
    await publish('b')
    await poll(consumerOf('billing'), { redis })

    expect(await runJanitor(ORDERS, { redis })).toMatchObject({
      trimmed: 1,
      kept: 1,
      streams: [{ blockers: [{ name: 'billing', reason: 'mark' }] }],
    })
  })

  it('nothing goes without a group', async () => {
    const { redis, publish } = await startWorld(kind)
    await publish('a')

    expect(await runJanitor({ stream: 'orders' }, { redis })).toMatchObject({
      trimmed: 0,
      kept: 1,
      streams: [{ blockers: [{ name: '', reason: 'no-groups' }] }],
    })
  })

  it('a lost group keeps what is above its mark; without one everything', async () => {
    const { redis, publish, read, destroy, ids } = await startWorld(kind)
    await publish('a')
    await read('search')
    await publish('b')
    await read('billing')
    await publish('c')
    await read('search')
    await destroy('billing')

    const report = await runJanitor(BOTH, { redis })

    expect(report).toMatchObject({ trimmed: 2, streams: [{ blockers: [{ name: 'billing', reason: 'lost' }] }] })
    expect(await ids()).toHaveLength(1)
    await registerGroups('orders', { never: { owner: 'nobody' } }, { redis })
    await publish('d')
    expect(await runJanitor(BOTH, { redis })).toMatchObject({ trimmed: 0, kept: 2 })
    await unregisterGroups('orders', ['never', 'billing'], { redis })
    await read('search')
    expect(await runJanitor({ stream: 'orders' }, { redis })).toMatchObject({ trimmed: 2 })
  })

  it('a lost group keeps what it had set aside below its mark', async () => {
    const { redis, publish, read, destroy, ids, passDue } = await startWorld(kind)
    const [, failed, later] = await publish('a', 'fails', 'b')
    await read('billing', (orderId) => {
      if (orderId === 'fails') throw new Error('not now')
    })
    await destroy('billing')

    expect(await runJanitor(ORDERS, { redis })).toMatchObject({
      trimmed: 1,
      streams: [{ blockers: [{ name: 'billing', reason: 'healing' }] }],
    })
    expect(await ids()).toEqual([failed, later])
    const calls: string[] = []
    await read('billing', (orderId) => calls.push(orderId))
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 0, kept: 2 })
    await passDue()
    await read('billing', (orderId) => calls.push(orderId))
    expect(calls).toContain('fails')
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 2, kept: 0 })
  })

  it('keeps what limits leave: by length, by age, by id', async () => {
    const { redis, publish, read } = await startWorld(kind)
    const published = await publish('a', 'b', 'c', 'd', 'e')
    await read('billing')

    expect(await runJanitor({ ...ORDERS, maxLength: 4 }, { redis })).toMatchObject({ trimmed: 1, kept: 4 })
    expect(await runJanitor({ ...ORDERS, retentionMs: 3_600_000 }, { redis })).toMatchObject({ trimmed: 0, kept: 4 })
    expect(await runJanitor({ ...ORDERS, beforeId: published[3] as string }, { redis })).toMatchObject({
      trimmed: 2,
      kept: 2,
    })
    expect(await runJanitor({ ...ORDERS, maxLength: 10, beforeId: published[4] as string }, { redis })).toMatchObject({
      trimmed: 1,
      kept: 1,
      streams: [{ blockers: [] }],
    })
  })

  it('keeps what a group’s registration, a floor or keepFrom keeps', async () => {
    const { redis, publish, read } = await startWorld(kind)
    const [a, b, c] = (await publish('a', 'b', 'c')) as [string, string, string]
    await read('billing')
    await keepEntriesFrom('orders', b, { redis, name: 'snapshots' })

    expect(await runJanitor({ ...ORDERS, keepFrom: () => a }, { redis })).toMatchObject({
      trimmed: 0,
      streams: [{ blockers: [{ name: 'keepFrom', reason: 'floor' }] }],
    })
    expect(await runJanitor({ ...ORDERS, keepFrom: async () => c }, { redis })).toMatchObject({
      trimmed: 1,
      streams: [{ blockers: [{ name: 'snapshots', reason: 'floor' }] }],
    })
    await keepEntriesFrom('orders', undefined, { redis, name: 'snapshots' })
    const patient = { stream: 'orders', groups: { billing: { owner: 'team', retentionMs: 3_600_000 } } }
    expect(await runJanitor(patient, { redis })).toMatchObject({
      trimmed: 0,
      streams: [{ blockers: [{ name: 'billing', reason: 'retention' }] }],
    })
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 2 })
  })

  it('an archive that refuses fails the run, which trims nothing; the next one archives that range', async () => {
    const { redis, publish, read, ids } = await startWorld(kind)
    const published = await publish('a', 'b')
    await read('billing')
    const { archive, ranges, ids: archived } = memoryArchive()
    const refuse = async () => {
      throw new Error('the bucket is gone')
    }

    const failure = await runJanitor(ORDERS, { redis, archive: refuse }).catch((error: unknown) => error)

    expect(failure).toBeInstanceOf(JanitorFailedError)
    expect(failure).toMatchObject({
      message: 'Cannot finish trim: stream "orders": the bucket is gone',
      report: { archived: 0, trimmed: 0, kept: 2 },
    })
    expect(await ids()).toEqual(published)
    await publish('c')
    await read('billing')
    expect(await runJanitor(ORDERS, { redis, archive })).toMatchObject({ archived: 3, trimmed: 3, ranges: 2 })
    expect(ranges.map(({ lastId, isRepeated }) => [lastId, isRepeated])).toEqual([
      [published[1], true],
      [expect.any(String), false],
    ])
    expect(await archived()).toHaveLength(3)
  })

  it('a second janitor at the same time leaves the stream alone', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a')
    await read('billing')
    const { archive, objects } = memoryArchive()
    let other: unknown
    const slow: typeof archive = async (range, context) => {
      other = await runJanitor(ORDERS, { redis, archive })
      await archive(range, context)
    }

    expect(await runJanitor(ORDERS, { redis, archive: slow })).toMatchObject({ archived: 1, trimmed: 1 })
    expect(other).toMatchObject({ archived: 0, trimmed: 0, drained: false, streams: [{ busy: true }] })
    expect(objects.size).toBe(1)
  })

  it('what is needed again after it was archived is held, and not archived twice', async () => {
    const { redis, publish, read, ids, passBlocked } = await startWorld(kind)
    const [a] = (await publish('a', 'b')) as [string]
    await read('billing')
    const { archive, objects } = memoryArchive()
    const replays: typeof archive = async (range, context) => {
      await archive(range, context)
      await keepEntriesFrom('orders', a, { redis, name: 'replay' })
    }

    expect(await runJanitor(ORDERS, { redis, archive: replays })).toMatchObject({
      archived: 2,
      trimmed: 0,
      held: 2,
      streams: [{ blockers: [{ name: 'replay', reason: 'floor' }] }],
    })
    expect(await ids()).toHaveLength(2)
    await passBlocked('sinceFloor:replay')
    const again = await runJanitor(ORDERS, { redis, archive: replays })
    expect(again).toMatchObject({ archived: 0, resumed: 2, held: 2 })
    expect(Math.floor((again.streams[0]?.blockers[0]?.sinceMs ?? 0) / 3_600_000)).toBe(1)
    await keepEntriesFrom('orders', undefined, { redis, name: 'replay' })
    expect(await runJanitor(ORDERS, { redis, archive: replays })).toMatchObject({ archived: 0, resumed: 2, trimmed: 2 })
    expect(objects.size).toBe(1)
  })

  it('delayed events are not touched, and come', async () => {
    const { redis, publish, read } = await startWorld(kind)
    const publisher = createPublisher({ stream: 'orders', redis })
    await publisher.publish(OrderPaid, { orderId: 'later' }, { delayMs: 3_600_000, eventId: 'e-1' })
    await publish('a')
    await read('billing')

    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 1 })
    expect(await publisher.cancel('e-1')).toBe('cancelled')
  })

  it('dead letters are archived and trimmed by their own retention', async () => {
    const { redis, publish, read, ids } = await startWorld(kind)
    const letters = '{orders}:billing:dlq'
    await publish('a')
    await read('billing', () => {
      throw new NonRetryableError('never')
    })
    const [letter] = await ids(letters)
    const { archive, ids: archived } = memoryArchive()
    const keeping = (retentionMs: number) => ({
      stream: 'orders',
      groups: { billing: { owner: 'team', deadLetters: { owner: 'ops', retentionMs } } },
    })

    expect(await runJanitor(keeping(3_600_000), { redis, archive })).toMatchObject({
      trimmed: 1,
      streams: [{ trimmed: 1 }, { stream: letters, deadLettersOf: { stream: 'orders', group: 'billing' }, kept: 1 }],
    })
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await runJanitor(keeping(1), { redis, archive })).toMatchObject({
      streams: [{ trimmed: 0 }, { archived: 1, trimmed: 1, kept: 0 }],
    })
    expect(await archived()).toContain(letter)
  })

  it('dead letters that groups of several streams share stay for the longest time', async () => {
    const { redis, publish, read, ids } = await startWorld(kind)
    const letters = '{orders}:billing:dlq'
    await publish('a')
    await read('billing', () => {
      throw new NonRetryableError('never')
    })
    await new Promise((resolve) => setTimeout(resolve, 5))
    const sharing = (retentionMs: number) => ({
      owner: 'team',
      deadLetters: { owner: 'ops', stream: letters, retentionMs },
    })

    const report = await runJanitor(
      [
        { stream: 'orders', groups: { billing: sharing(1) } },
        { stream: '{orders}:refunds', groups: { billing: sharing(3_600_000) } },
      ],
      { redis },
    )

    expect(report.streams.map(({ stream }) => stream)).toEqual(['orders', '{orders}:refunds', letters])
    expect(await ids(letters)).toHaveLength(1)
  })

  it.each([
    ['for longer', { retentionMs: 3_600_000 }],
    ['for ever', {}],
  ])('dead letters that a group of another janitor keeps %s stay, and it is named', async (_how, other) => {
    const { redis, publish, read, ids } = await startWorld(kind)
    const stream = '{orders}:billing:dlq'
    const refunds = '{orders}:refunds'
    await publish('a')
    await read('billing', () => {
      throw new NonRetryableError('never')
    })
    await new Promise((resolve) => setTimeout(resolve, 5))
    await runJanitor(
      { stream: refunds, groups: { billing: { owner: 'b', deadLetters: { stream, ...other } } } },
      { redis },
    )
    const own = { stream: 'orders', groups: { billing: { owner: 'a', deadLetters: { retentionMs: 1 } } } }

    expect((await runJanitor(own, { redis })).streams[1]).toMatchObject({
      stream,
      trimmed: 0,
      blockers: [{ name: '["{orders}:refunds","billing"]', reason: 'letters', isRegistered: false }],
    })
    expect(await ids(stream)).toHaveLength(1)
    await unregisterGroups(refunds, ['billing'], { redis })
    expect((await runJanitor(own, { redis })).streams[1]).toMatchObject({ trimmed: 1 })
  })

  it('dead letters that groups share go into an archive if one of their streams has one', async () => {
    const { redis, publish, read } = await startWorld(kind)
    const letters = '{orders}:billing:dlq'
    await publish('a')
    await read('billing', () => {
      throw new NonRetryableError('never')
    })
    await new Promise((resolve) => setTimeout(resolve, 5))
    const billing = { owner: 'team', deadLetters: { stream: letters, retentionMs: 1 } }
    const { archive, objects } = memoryArchive()

    await runJanitor(
      [
        { stream: 'orders', groups: { billing }, archive: false },
        { stream: '{orders}:refunds', groups: { billing } },
      ],
      { redis, archive },
    )

    expect([...objects.keys()].filter((name) => name.startsWith(encodeURIComponent(letters)))).toHaveLength(1)
  })

  it('keepFrom that does not answer fails the stream, and nothing is trimmed', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a')
    await read('billing')
    const never = () => new Promise<undefined>(() => {})
    const options = { redis, remainingMs: 6_000 }
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true, advanceTimeDelta: 200 })
    onTestFinished(() => void vi.useRealTimers())

    const failure = await runJanitor({ ...ORDERS, keepFrom: never }, options).catch((error: unknown) => error)

    expect(String(failure)).toMatch(/stream "orders": keepFrom: no answer within \d+ ms/)
    expect(failure).toMatchObject({ report: { trimmed: 0 } })
  })

  it('an archive that throws what is no error fails the run as any other', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a')
    await read('billing')
    const archive = () => Promise.reject(undefined)

    const failure = await runJanitor(ORDERS, { redis, archive }).catch((error: unknown) => error)

    expect(failure).toMatchObject({ code: 'ERR_JANITOR_FAILED', failures: [{ stream: 'orders' }] })
  })

  it('takes names of groups that objects have as well', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a')
    await read('constructor')
    await publish('b')
    await read('billing')
    const ignoreGroups = ['constructor', '__proto__']

    expect(await runJanitor({ ...ORDERS, ignoreGroups }, { redis })).toMatchObject({ trimmed: 2 })
    expect(() => createJanitor({ ...ORDERS, ignoreGroups: ['billing'] }, { redis })).toThrow('must not be in both')
  })

  it('what is trimmed ahead of a group is counted, once', async () => {
    const { redis, publish, read, trimByHand } = await startWorld(kind)
    await publish('a', 'b')
    await read('billing', () => {
      throw new Error('not now')
    })
    await publish('c', 'd')
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 0, trimmedAhead: 0 })
    await trimByHand(1)

    // two were pending, and one was not read: memory sees at least one
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 0, trimmedAhead: 3 })
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmedAhead: 0 })
  })

  it('goes on with the next stream where one fails', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a')
    await read('billing')
    const broken: JanitorStream = {
      stream: 'other',
      keepFrom: () => {
        throw new Error('no snapshots')
      },
    }

    const failure = await runJanitor([broken, ORDERS], { redis }).catch((error: unknown) => error)

    expect(failure).toMatchObject({
      failures: [{ stream: 'other' }],
      report: { trimmed: 1, streams: [{ stream: 'other' }, { stream: 'orders', trimmed: 1 }] },
    })
  })

  it('as a Lambda function it takes what its deployment sets', async () => {
    const { redis, publish, read } = await startWorld(kind)
    await publish('a', 'b', 'c')
    await read('billing')
    process.env.MILLRACE_JANITOR = JSON.stringify([{ stream: 'orders', maxLength: 1, groups: ORDERS.groups }])
    onTestFinished(() => {
      delete process.env.MILLRACE_JANITOR
    })

    const handler = createJanitor({ stream: 'orders', maxLength: 100 }, { redis })

    expect(await handler({ source: 'serverless-plugin-warmup' })).toMatchObject({ streams: [] })
    expect(await handler({}, { getRemainingTimeInMillis: () => 30_000 })).toMatchObject({ trimmed: 2, kept: 1 })
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue()
    createJanitor({ stream: 'order' }, { redis })
    expect(warned.mock.calls).toEqual([
      ['MILLRACE_JANITOR has settings of stream "orders", which createJanitor() does not trim', 'MillraceWarning'],
    ])
    warned.mockRestore()
  })
})
