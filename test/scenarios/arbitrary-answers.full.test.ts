import fc from 'fast-check'
import type { Codec, Event, Report } from 'millrace'
import { createPublisher, defineEvent, envelopeCodec, on, onBatch, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { expect, onTestFinished, test, vi } from 'vitest'
import { arbitraryAnswer, made } from '../support/arbitrary-answer.ts'
import { billing, counts, difference } from '../support/scenario.ts'

const RUNS = { numRuns: 300 }
const DLQ = '{orders}:billing:dlq'
const TEXTS = ['aggregateType', 'aggregateId', 'tenantId', 'producer', 'occurredAt', 'traceparent'] as const

/** A schema that takes anything, for what comes before it. */
const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const

/** Two entries, of which the first one's answers are the test's; what came of both. */
async function polled(answers: {
  readonly decode?: unknown
  readonly upcast?: unknown
  readonly validate?: unknown
  readonly handle?: unknown
  readonly isBatch?: boolean
}) {
  const has = (name: keyof typeof answers) => name in answers
  const validate = (value: { readonly n: number }) => (value?.n === 1 && has('validate') ? answers.validate : { value })
  const Order = defineEvent('Order', {
    version: 2,
    payload: { '~standard': { ...anything['~standard'], validate: validate as never } },
    upcast: { 1: (old) => (old.n === 1 && has('upcast') ? answers.upcast : old) },
  })
  const written = defineEvent('Order', { payload: anything })
  const codec: Codec = {
    decode: (fields, id) => {
      const event = envelopeCodec.decode(fields, id)
      const isFirst = (event.payload as { n: number }).n === 1
      return isFirst && has('decode') ? (answers.decode as typeof event) : event
    },
  }
  const seen: Event[] = []
  const handler = (event: Event) => {
    seen.push(event)
    return seen.length === 1 && has('handle') ? answers.handle : undefined
  }
  const route = answers.isBatch
    ? onBatch(Order, (events) => handler(events[0] as Event) as never, { maxEvents: 1 })
    : on(Order, handler as never)
  const redis = connectMemory()
  const orders = createPublisher({ stream: 'orders', redis })
  for (const n of [1, 2]) await orders.publish(written, { n })
  const report: Report = await poll(
    billing(() => {}, { routes: [route], codec }),
    { redis },
  )
  const reasons = redis.entries(DLQ).map(({ fields }) => Object.fromEntries(fields).reason)
  return { report, seen, reasons }
}

function expectSettled({ report, seen }: Awaited<ReturnType<typeof polled>>): void {
  expect([difference(report), report.read, report.unsettled, report.superseded]).toEqual([0, 2, 0, 0])
  expect(report.acked).toBeGreaterThan(0)
  for (const event of seen) {
    expect([typeof event.type, typeof event.eventId, event.version]).toEqual(['string', 'string', 2])
    for (const name of TEXTS) expect(['string', 'undefined']).toContain(typeof event[name])
    for (const value of Object.values(event.attributes ?? {})) expect(value).toBeTypeOf('string')
  }
}

test('whatever a codec answers is an event whose texts are texts, or malformed', async () => {
  const member = (valid: fc.Arbitrary<unknown>) => fc.oneof({ weight: 2, arbitrary: valid }, arbitraryAnswer())
  const text = member(fc.string())
  const event = fc.record(
    {
      type: member(fc.constant('Order')),
      version: member(fc.constantFrom(1, 2)),
      payload: member(fc.constant({ n: 1 })),
      eventId: text,
      attributes: member(fc.dictionary(fc.string(), text, { maxKeys: 3 })),
      ...Object.fromEntries(TEXTS.map((name) => [name, text])),
    },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(fc.oneof(event, arbitraryAnswer()), async (decode) => {
      const result = await polled({ decode: made(decode) })
      expectSettled(result)
      for (const reason of result.reasons)
        expect(['malformed', 'unrouted', 'newer-version', 'unsupported-version', 'invalid']).toContain(reason)
    }),
    RUNS,
  )
})

test('an eventId that is no text is malformed: no two entries share an idempotency key', async () => {
  for (const eventId of [{}, Object.create(null), 7, Symbol('x'), ['a'], () => 'x', 1n, true]) {
    const { reasons } = await polled({ decode: { type: 'Order', payload: { n: 1 }, eventId } })
    expect(reasons).toEqual(['malformed'])
  }
})

test('whatever an upcast answers is the schema’s to judge, or invalid', async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryAnswer(), async (upcast) => expectSettled(await polled({ upcast: made(upcast) }))),
    RUNS,
  )
})

test('whatever a schema answers is a value, or invalid, or its failure', async () => {
  const path = fc.oneof(fc.array(fc.oneof(arbitraryAnswer(), fc.record({ key: arbitraryAnswer() }))), arbitraryAnswer())
  const issue = fc.oneof(fc.record({ path, message: arbitraryAnswer() }, { requiredKeys: [] }), arbitraryAnswer())
  const result = fc.record(
    { issues: fc.oneof(fc.array(issue), arbitraryAnswer()), value: arbitraryAnswer() },
    { requiredKeys: [] },
  )
  const answer = fc.oneof(result, arbitraryAnswer())
  await fc.assert(
    fc.asyncProperty(answer, fc.boolean(), async (recipe, isAsync) => {
      const given = made(recipe)
      const done = await polled({ validate: isAsync ? Promise.resolve(given) : given })
      expectSettled(done)
      for (const reason of done.reasons) expect(reason).toBe('invalid')
    }),
    RUNS,
  )
})

test('whatever a handler answers or throws settles its entry', async () => {
  const failures = fc.oneof(
    fc.array(fc.record({ itemIdentifier: arbitraryAnswer(), error: arbitraryAnswer() })),
    arbitraryAnswer(),
  )
  const answer = fc.oneof(fc.record({ batchItemFailures: failures }), arbitraryAnswer())
  await fc.assert(
    fc.asyncProperty(answer, fc.boolean(), async (handle, isBatch) =>
      expectSettled(await polled({ handle: made(handle), isBatch })),
    ),
    RUNS,
  )
})

test('whatever a handler throws settles its entry, also what names a code of ours', async () => {
  const codes = fc.constantFrom('ERR_UNAVAILABLE', 'ERR_RETRY_AFTER', 'ERR_NON_RETRYABLE')
  const wish = fc.record(
    {
      code: codes,
      retryAfterMs: arbitraryAnswer(),
      isLasting: arbitraryAnswer(),
      message: arbitraryAnswer(),
      name: arbitraryAnswer(),
      stack: arbitraryAnswer(),
    },
    { requiredKeys: ['code'] },
  )
  await fc.assert(
    fc.asyncProperty(fc.oneof(wish, arbitraryAnswer()), async (recipe) => {
      const thrown = made(recipe)
      const redis = connectMemory()
      const Order = defineEvent('Order', { payload: anything })
      await createPublisher({ stream: 'orders', redis }).publish(Order, {})
      const consumer = billing(() => {}, {
        routes: [
          on(Order, () => {
            throw thrown
          }),
        ],
      })
      const report = await poll(consumer, { redis }).catch((error: { report: Report }) => error.report)
      expect([difference(report), counts(report).read]).toEqual([0, 1])
      expect(report.acked + report.unsettled + report.superseded).toBe(0)
    }),
    RUNS,
  )
})

test('a rejected promise where none belongs is malformed or invalid, and ends no process', async () => {
  const rejected = () => Promise.reject(new Error('no'))
  const results = [
    await polled({ decode: rejected() }),
    await polled({ decode: { type: 'Order', payload: rejected() } }),
    await polled({ decode: { type: 'Order', payload: { n: 1 }, eventId: rejected() } }),
    await polled({ upcast: rejected() }),
    await polled({ validate: { issues: rejected() } }),
    await polled({ decode: { type: rejected(), eventId: rejected(), producer: rejected(), payload: rejected() } }),
    await polled({ validate: { issues: [rejected(), { message: rejected(), path: [rejected()] }] } }),
    await polled({ validate: { value: rejected() } }),
    await polled({ validate: Promise.resolve({ value: rejected() }) }),
  ]
  expect(results.map(({ reasons }) => reasons[0])).toEqual([
    'malformed',
    'malformed',
    'malformed',
    'invalid',
    'invalid',
    'malformed',
    'invalid',
    'invalid',
    'invalid',
  ])
  for (const failures of [rejected(), [rejected()], [{ itemIdentifier: rejected() }]]) {
    for (const isBatch of [false, true]) {
      const { report } = await polled({ handle: { batchItemFailures: failures }, isBatch })
      expect([report.acked, report.retried]).toEqual([1, 1])
    }
  }
})

test('a rejected promise that is thrown ends no process', async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  onTestFinished(() => void vi.restoreAllMocks())
  const fail = () => {
    throw Promise.reject(new Error('no'))
  }
  const routes = [on(defineEvent('Order', { payload: anything }), fail)]
  for (const options of [{ routes }, { routes, codec: { decode: fail }, onDeadLetter: fail }]) {
    const redis = connectMemory()
    await createPublisher({ stream: 'orders', redis }).publish(defineEvent('Order', { payload: anything }), {})
    const report = await poll(
      billing(() => {}, options),
      { redis, observe: { handlerEnded: fail, entriesRead: fail } },
    )
    expect(report.retried + report.deadLettered).toBe(1)
  }
})
