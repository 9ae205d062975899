import type { Observer } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { billing, counts, OrderPaid } from '../support/scenario.ts'

const fail = (): never => {
  throw new Error('an observer’s own')
}
const unreadable = (name: string) => Object.defineProperty({}, name, { get: fail }) as Observer
const scope = (handler: unknown) => ({ within: { handler, publish: handler } }) as unknown as Observer
type Run = () => unknown
const later = (run: Run) => void setTimeout(run, 1)

const OBSERVERS: readonly [what: string, observer: Observer][] = [
  ['has a within that throws', unreadable('within')],
  ['has scopes that throw when they are read', { within: unreadable('handler') } as Observer],
  ['has a within that is no object', { within: 7 } as never],
  ['has scopes that are no functions', scope('x')],
  ['is a Proxy that refuses everything', new Proxy({}, { get: fail, has: fail, getPrototypeOf: fail })],
  ['is a Proxy that answers itself', new Proxy({}, { get: (_t, _n, self) => self as unknown })],
  [
    'has listeners that are no functions',
    { entriesRead: 'x', acked: {}, handlerEnded: 7, invocationStarted: null } as never,
  ],
  [
    'has listeners that throw',
    {
      entriesRead: fail,
      acked: fail,
      handlerEnded: fail,
      invocationStarted: fail,
      invocationEnded: fail,
      published: fail,
    },
  ],
  [
    'has listeners that reject',
    {
      entriesRead: (async () => fail()) as () => void,
      acked: (async () => fail()) as () => void,
      invocationEnded: (async () => fail()) as () => void,
    },
  ],
  [
    'changes what it is told',
    {
      invocationEnded: ({ report }) => void Object.assign(report, { acked: 99, read: 99 }),
      handlerEnded: ({ outcomes }) => void Object.assign(outcomes[0] as object, { kind: 'release' }),
      deadLettered: ({ notice }) => void Object.assign(notice, { entryId: 'x' }),
      entriesRead: ({ entryIds }) => void (entryIds as string[]).splice(0),
    },
  ],
  ['has a scope that throws', scope(fail)],
  [
    'has a scope that throws after',
    scope((_c: unknown, run: Run) => {
      run()
      fail()
    }),
  ],
  ['has an async scope', scope(async (_c: unknown, run: Run) => await run())],
  [
    'has an async scope that fails',
    scope(async (_c: unknown, run: Run) => {
      await run()
      fail()
    }),
  ],
  [
    'has an async scope that runs late',
    scope(async (_c: unknown, run: Run) => {
      await Promise.resolve()
      return run()
    }),
  ],
  ['has a scope that runs much later', scope((_c: unknown, run: Run) => later(run))],
  ['has a scope that never runs', scope(() => 'x')],
  [
    'has a scope that runs twice',
    scope((_c: unknown, run: Run) => {
      run()
      return run()
    }),
  ],
  [
    'has a scope that runs many times, also later',
    scope((_c: unknown, run: Run) => {
      run()
      later(run)
      return [run(), run()]
    }),
  ],
  [
    'has a scope that derives a promise for nobody',
    scope((_c: unknown, run: Run) => {
      void (run() as Promise<void> | undefined)?.finally?.(() => {})
      return 1
    }),
  ],
  [
    'has a scope that answers a hostile thenable',
    scope((_c: unknown, run: Run) => {
      run()
      return unreadable('then')
    }),
  ],
  [
    'has a scope that is a generator',
    scope(function* (_c: unknown, run: Run) {
      yield run()
    }),
  ],
  ['has a scope that is a class', scope(class {})],
  [
    'has a scope that makes the call unreadable',
    scope((call: object, run: Run) => {
      Object.defineProperty(call, 'traceparent', { get: fail })
      return run()
    }),
  ],
  [
    'sets a traceparent without end',
    scope((call: { traceparent: unknown }, run: Run) => {
      call.traceparent = 'x'.repeat(2_000_000)
      return run()
    }),
  ],
  [
    'sets no text as traceparent',
    scope((call: { traceparent: unknown }, run: Run) => {
      call.traceparent = { a: 1 }
      return run()
    }),
  ],
]

/** What came of four events, whose handlers succeed and fail, at once and later. */
async function settled(observe?: Observer | readonly Observer[]) {
  const redis = connectMemory()
  const publisher = createPublisher({ stream: 'orders', redis, ...(observe && { observe }) })
  for (const orderId of ['a', 'b', 'c', 'd', 'e']) await publisher.publish(OrderPaid, { orderId })
  const calls: string[] = []
  const consumer = billing(
    (event: { payload: { orderId: string } }) => {
      calls.push(event.payload.orderId)
      if (event.payload.orderId === 'b') throw new Error('no')
      if (event.payload.orderId === 'c') return Promise.reject(new Error('no'))
      if (event.payload.orderId === 'e') throw Object.assign(new Error('no'), { code: 'ERR_NON_RETRYABLE' })
      return event.payload.orderId === 'd' ? Promise.resolve() : undefined
    },
    {
      onDeadLetter: ({ entryId }) =>
        void calls.push(redis.entries('orders').some(({ id }) => id === entryId) ? 'told' : 'lied'),
    },
  )
  const report = await poll(consumer, { redis, ...(observe && { observe }) })
  const pending = redis.pending('orders', 'billing').map(({ deliveryCount }) => deliveryCount)
  const traced = redis.entries('orders').flatMap(({ fields }) => fields.filter(([name]) => name === 'traceparent'))
  await new Promise((resolve) => setTimeout(resolve, 5))
  return { report: counts(report), calls, pending, traced }
}

describe('an observer changes nothing', () => {
  beforeEach(() => void vi.spyOn(process, 'emitWarning').mockImplementation(() => {}))
  afterEach(() => void vi.restoreAllMocks())

  test.each(OBSERVERS)('that %s', async (_what, observer) => {
    const plain = await settled()
    expect(plain).toMatchObject({ calls: ['a', 'b', 'c', 'd', 'e', 'told'], pending: [1, 1], traced: [] })
    expect(await settled(observer)).toEqual(plain)
    const seen: string[] = []
    const good: Observer = {
      handlerEnded: ({ outcomes }) => void seen.push(outcomes[0]?.kind ?? ''),
      within: {
        handler: (_call, run) => {
          seen.push('in')
          const ran = run()
          seen.push('out')
          return ran
        },
      },
    }
    expect(await settled([observer, good, observer])).toEqual(plain)
    expect(seen.filter((word) => word === 'in')).toHaveLength(5)
    expect(seen.filter((word) => word === 'out')).toHaveLength(5)
  })
})
