import { Readable, Writable } from 'node:stream'
import { runInNewContext } from 'node:vm'
import type { HandlerContext, Report } from 'millrace'
import { createPublisher, NonRetryableError, onBatch, poll, RetryAfterError } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import { THEN, thenable } from '../support/arbitrary-answer.ts'
import { billing, counts, OrderPaid } from '../support/scenario.ts'

type Answering = (context: HandlerContext) => unknown

/** Polls one entry, whose handler answers that: at once, and as a promise. */
async function answered(answer: Answering): Promise<Record<string, number | boolean>> {
  const results: Report[] = []
  for (const handler of [
    (_e: never, c: HandlerContext) => answer(c),
    async (_e: never, c: HandlerContext) => answer(c),
  ]) {
    const redis = connectMemory()
    await createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o-1' })
    results.push(await poll(billing(handler, { maxDeliveries: 3 }), { redis }))
  }
  const [sync, async] = results.map(counts)
  expect(sync).toEqual(async)
  return sync as Record<string, number | boolean>
}

const ACKED = { read: 1, acked: 1, batches: 1, drained: true }
const DEAD = { read: 1, deadLettered: 1, batches: 1 }

const unreadable = (name: PropertyKey) =>
  Object.defineProperty({}, name, {
    get: () => {
      throw new Error('no')
    },
  })

describe('what the handler of one event answers', () => {
  it.each<[what: string, answer: Answering]>([
    ['nothing', () => undefined],
    ['null', () => null],
    ['a text', () => '{"batchItemFailures":[{"itemIdentifier":""}]}'],
    ['an object', () => ({ statusCode: 500 })],
    ['an object without a prototype', () => Object.create(null)],
    ['an array', () => [{ itemIdentifier: 'x' }]],
    ['an Error', () => new Error('no')],
    ['the entries of a Map', () => new Map([[1, 2]]).entries()],
    ['a function', () => () => {}],
    ['a symbol', () => Symbol('x')],
    ['an array of billions of holes', () => Object.assign([], { length: 4_000_000_000 })],
    ['no failures', () => ({ batchItemFailures: [] })],
    ['null for failures', () => ({ batchItemFailures: null })],
    ['undefined for failures', () => ({ batchItemFailures: undefined })],
    ['a thenable of another realm', () => runInNewContext('Promise.resolve(1)')],
    [
      'a thenable whose second reading is none',
      () => {
        let reads = 0
        return Object.defineProperty({}, THEN, {
          get: () => (reads++ === 0 ? (resolve: () => void) => resolve() : 1),
        })
      },
    ],
  ])('%s is a success', async (_what, answer) => {
    expect(await answered(answer)).toEqual(ACKED)
  })

  it.each<[what: string, answer: Answering]>([
    ['its own entry as failed', ({ entryId }) => ({ batchItemFailures: [{ itemIdentifier: entryId }] })],
    ['its own entry, beside other keys', ({ entryId }) => ({ a: 1, batchItemFailures: [{ itemIdentifier: entryId }] })],
    [
      'its own entry, twice',
      ({ entryId: itemIdentifier }) => ({ batchItemFailures: [{ itemIdentifier }, { itemIdentifier }] }),
    ],
    [
      'its own entry and when to retry',
      ({ entryId }) => ({ batchItemFailures: [{ itemIdentifier: entryId, error: new RetryAfterError(9) }] }),
    ],
    ['an id of another', () => ({ batchItemFailures: [{ itemIdentifier: '1-1' }] })],
    ['an id that is empty', () => ({ batchItemFailures: [{ itemIdentifier: '' }] })],
    ['an id that is missing', () => ({ batchItemFailures: [{}] })],
    ['an id that is null', () => ({ batchItemFailures: [null] })],
    ['failures that are no list', ({ entryId }) => ({ batchItemFailures: { itemIdentifier: entryId } })],
    ['failures by inheritance', ({ entryId }) => Object.create({ batchItemFailures: [{ itemIdentifier: entryId }] })],
    ['failures that cannot be read', () => unreadable('batchItemFailures')],
    ['a then that cannot be read', () => unreadable('then')],
    [
      'a then that throws',
      () =>
        thenable(() => {
          throw new Error('no')
        }),
    ],
    ['a rejection of another realm', () => runInNewContext('Promise.reject(new Error("no"))')],
    ['a generator', () => (function* () {})()],
    ['an async generator', () => (async function* () {})()],
    ['a stream that is to be read', () => Readable.from(['x'])],
    ['a stream that is to be written', () => new Writable()],
    ['a stream of the web', () => new ReadableStream()],
    ['an iterator helper', () => runInNewContext('[1].values().map(async () => {})')],
    ['promises in an array of an array', () => [[1, Promise.reject(new Error('no'))]]],
    ['promises in a Set', () => new Set([Promise.reject(new Error('no'))])],
    ['promises in a Map', () => new Map([[1, Promise.reject(new Error('no'))]])],
    ['promises that nobody waits for', () => [1, Promise.resolve(2)]],
    ['promises that will fail', () => [Promise.reject(new Error('no')), runInNewContext('Promise.reject(1)')]],
    [
      'a revoked Proxy',
      () => {
        const { proxy, revoke } = Proxy.revocable({}, {})
        revoke()
        return proxy
      },
    ],
  ])('%s is a failure', async (_what, answer) => {
    expect(await answered(answer)).toMatchObject({ read: 1, retried: 1 })
  })

  it('an error of its own entry steers like something thrown', async () => {
    const error = new NonRetryableError('gone')
    expect(
      await answered(({ entryId }) => ({ batchItemFailures: [{ itemIdentifier: entryId, error }] })),
    ).toMatchObject(DEAD)
  })
})

it('what a batch handler answers that nobody could wait for is a failure of all', async () => {
  const answers = [
    () => (function* () {})(),
    () => Readable.from([]),
    () => unreadable('then'),
    () =>
      thenable(async () => {
        throw new Error('no')
      }),
  ]
  for (const answer of answers) {
    const redis = connectMemory()
    await createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o-1' })
    const consumer = billing(() => {}, { routes: [onBatch(OrderPaid, answer as () => void)] })
    expect(await poll(consumer, { redis })).toMatchObject({ read: 1, retried: 1 })
  }
})

it('a then that is an async function leaves no rejection to nobody', async () => {
  const redis = connectMemory()
  await createPublisher({ stream: 'orders', redis }).publish(OrderPaid, { orderId: 'o-1' })
  const consumer = billing(() =>
    thenable(async () => {
      throw new Error('no')
    }),
  )
  expect(await poll(consumer, { redis })).toMatchObject({ read: 1, retried: 1 })
})
