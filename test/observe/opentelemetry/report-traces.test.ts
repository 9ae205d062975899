import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { DeadLetterNotice, HandlerCall, Observer, PublishCall } from 'millrace'
import { InvocationFailedError } from 'millrace'
import { reportTraces } from 'millrace/opentelemetry'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { aReport } from '../../support/a-report.ts'
import { aCall, aDelivery, anInvocation, aRun } from '../../support/observed.ts'
import { startTracing, traceparentOf } from '../../support/spans.ts'

const PUBLISHER = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const LINK = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1, isRemote: true }

let tracing: ReturnType<typeof startTracing>
let observer: Observer

beforeEach(() => {
  tracing = startTracing()
  observer = reportTraces()
})

afterEach(() => tracing.stop())

describe('reportTraces()', () => {
  test('makes a producer span of a publisher’s request and gives its events that span’s traceparent', () => {
    const call = aPublishCall('e-1')
    const within = observer.within?.publish?.(call, () => trace.getActiveSpan()?.spanContext().spanId)
    observer.published?.({ call, durationMs: 5, bytes: [100], entryIds: ['7-0'], delayedUntil: [] })

    const span = tracing.span('publish orders')
    expect(call.traceparent).toBe(traceparentOf(span))
    expect(within).toBe(span.spanContext().spanId)
    expect(span.kind).toBe(SpanKind.PRODUCER)
    expect(span.attributes).toEqual({
      'messaging.system': 'redis',
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'orders',
      'messaging.message.id': '7-0',
      'millrace.event_type': 'OrderPaid',
    })
    expect(span.status.code).toBe(SpanStatusCode.UNSET)
  })

  test('says how many events a request has, and why it failed without the message', () => {
    const call = aPublishCall('e-1', 'e-2')
    observer.within?.publish?.(call, () => {})
    const error = new RangeError('secret')
    observer.published?.({ call, durationMs: 5, bytes: [], entryIds: [undefined, undefined], delayedUntil: [], error })

    const { attributes, status, events } = tracing.span('publish orders')
    expect(attributes).toMatchObject({ 'messaging.batch.message_count': 2, 'error.type': 'RangeError' })
    expect([status, events]).toEqual([{ code: SpanStatusCode.ERROR }, []])
  })

  test('makes a consumer span of a handler’s call, linked to the publisher and active within it', async () => {
    const call = aCall(aRun(), { deliveries: [aDelivery(7, { traceparent: PUBLISHER, deliveryCount: 2 })] })
    await observer.within?.handler?.(call, async () => {
      await Promise.resolve()
      trace.getTracer('user').startSpan('query').end()
    })
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'ack' }] })

    const span = tracing.span('process orders')
    expect(span.kind).toBe(SpanKind.CONSUMER)
    expect(span.links).toEqual([{ context: LINK }])
    expect(tracing.span('query').parentSpanContext?.spanId).toBe(span.spanContext().spanId)
    expect(span.spanContext().traceId).not.toBe(LINK.traceId)
    expect(span.attributes).toEqual({
      'messaging.system': 'redis',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'orders',
      'messaging.consumer.group.name': 'billing',
      'messaging.client.id': 'poller-0',
      'messaging.message.id': '7-0',
      'millrace.event_type': 'OrderPaid',
      'millrace.delivery_count': 2,
      'millrace.outcome': 'ack',
    })
  })

  test('links the span of a batch to the publishers of all its events', () => {
    const other = '00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00'
    const deliveries = [
      aDelivery(1, { traceparent: PUBLISHER }),
      aDelivery(2),
      aDelivery(3, { traceparent: other, deliveryCount: 2 }),
    ]
    const call = aCall(aRun(), { isBatch: true, deliveries })
    run(call)
    const error = new TypeError('secret')
    observer.handlerEnded?.({
      call,
      durationMs: 5,
      outcomes: [{ kind: 'ack' }, { kind: 'retry', error }, { kind: 'dead-letter', error }],
    })

    const { attributes, links, events, status } = tracing.span('process orders')
    expect(attributes).toMatchObject({ 'messaging.batch.message_count': 3, 'error.type': 'TypeError' })
    expect(attributes).not.toHaveProperty('messaging.message.id')
    expect(links.map((link) => [link.context.spanId, link.attributes])).toEqual([
      ['b7ad6b7169203331', { 'messaging.message.id': '1-0', 'millrace.delivery_count': 1 }],
      ['c7ad6b7169203331', { 'messaging.message.id': '3-0', 'millrace.delivery_count': 2 }],
    ])
    expect(events.map((event) => [event.name, event.attributes])).toEqual([
      ['retry', { 'messaging.message.id': '2-0', 'millrace.delivery_count': 1, 'error.type': 'TypeError' }],
      ['dead-letter', { 'messaging.message.id': '3-0', 'millrace.delivery_count': 2, 'error.type': 'TypeError' }],
    ])
    expect(status).toEqual({ code: SpanStatusCode.ERROR })
  })

  test.each([
    '',
    'nonsense',
    '00-00000000000000000000000000000000-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
    '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more',
    'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    `${PUBLISHER} `,
  ])('does not link to %j, which is no traceparent', (traceparent) => {
    const call = aCall(aRun(), { deliveries: [aDelivery(1, { traceparent })] })
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'ack' }] })

    expect(tracing.span('process orders').links).toEqual([])
  })

  test('links to a traceparent of a later version', () => {
    const traceparent = '01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more'
    const call = aCall(aRun(), { deliveries: [aDelivery(1, { traceparent })] })
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'ack' }] })

    expect(tracing.span('process orders').links).toMatchObject([{ context: LINK }])
  })

  test('makes one span of a handler that throws, and records only the name of its error', () => {
    const call = aCall()
    const failure = Object.assign(new Error('secret-message'), { name: 'MailServerBusyError' })
    const thrown = () => {
      throw failure
    }
    expect(() => observer.within?.handler?.(call, thrown)).toThrow(failure)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'retry', error: failure }] })
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'retry', error: failure }] })

    const [span, ...others] = tracing.spans()
    expect(others).toEqual([])
    expect(span?.attributes).toMatchObject({ 'error.type': 'MailServerBusyError', 'millrace.outcome': 'retry' })
    expect(JSON.stringify([span?.attributes, span?.events, span?.status])).not.toContain('secret')
  })

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a text', 'secret'],
    ['an odd name', { name: 7 }],
    ['what cannot be read', new Proxy({}, { get: () => expect.fail('unreadable') })],
  ])('takes a handler that threw %s', (_what, error) => {
    const call = aCall()
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'retry', error }] })

    expect(tracing.span('process orders').attributes).toMatchObject({ 'error.type': '_OTHER' })
  })

  test('makes a span of a dead letter, within its handler’s and linked to its publisher', () => {
    const call = aCall()
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'dead-letter', error: new Error('no') }] })
    observer.deadLettered?.({ invocation: call.invocation, notice: aNotice({ traceparent: PUBLISHER }) })

    const letter = tracing.span('dead-letter orders')
    expect(letter.kind).toBe(SpanKind.CLIENT)
    expect(letter.parentSpanContext?.spanId).toBe(tracing.span('process orders').spanContext().spanId)
    expect(letter.links).toEqual([{ context: LINK }])
    expect(letter.attributes).toEqual({
      'messaging.system': 'redis',
      'messaging.operation.name': 'dead-letter',
      'messaging.operation.type': 'settle',
      'messaging.destination.name': 'orders',
      'messaging.consumer.group.name': 'billing',
      'messaging.message.id': '1-0',
      'millrace.event_type': 'OrderPaid',
      'millrace.dead_letter.reason': 'max-deliveries',
      'millrace.dead_letter.stream': '{orders}:billing:dlq',
    })
  })

  test('makes a failed span of a dead letter that the server refused', () => {
    observer.deadLetterRefused?.({ invocation: anInvocation(), notice: aNotice({ traceparent: PUBLISHER }) })

    const { status, attributes, links } = tracing.span('dead-letter orders')
    expect([status.code, attributes['error.type'], links]).toEqual([
      SpanStatusCode.ERROR,
      '_OTHER',
      [{ context: LINK }],
    ])
  })

  test("makes an invocation's span with its report's numbers, parent of its handlers' spans", () => {
    const [invocation, other] = [anInvocation(), anInvocation('claim', 'search')]
    observer.invocationStarted?.(invocation)
    observer.invocationStarted?.(other)
    const call = aCall(aRun(invocation))
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'ack' }] })
    observer.deadLettered?.({ invocation: other, notice: aNotice() })
    end(invocation, { read: 3, acked: 2 })
    end(other, {}, new InvocationFailedError('claim', [], { ...aReport(), action: 'claim', consumers: [] }))

    const [poll, claim] = [tracing.span('poll orders'), tracing.span('claim')]
    expect(tracing.span('process orders').parentSpanContext?.spanId).toBe(poll.spanContext().spanId)
    expect(tracing.span('dead-letter orders').parentSpanContext?.spanId).toBe(claim.spanContext().spanId)
    expect(poll.kind).toBe(SpanKind.INTERNAL)
    expect(poll.attributes).toEqual({
      'messaging.system': 'redis',
      'messaging.operation.name': 'poll',
      'messaging.destination.name': 'orders',
      'messaging.consumer.group.name': 'billing',
      'faas.invocation_id': 'request-1',
      'millrace.report.read': 3,
      'millrace.report.acked': 2,
    })
    expect([claim.status.code, claim.attributes['error.type']]).toEqual([SpanStatusCode.ERROR, 'InvocationFailedError'])
  })

  test('leaves invocations out where its options say so', () => {
    observer = reportTraces({ invocations: false })
    const invocation = anInvocation()
    observer.invocationStarted?.(invocation)
    const call = aCall(aRun(invocation))
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'ack' }] })
    end(invocation, {})

    expect(tracing.spans().map(({ name, parentSpanContext }) => [name, parentSpanContext])).toEqual([
      ['process orders', undefined],
    ])
  })

  test('makes its spans with the tracer that it is given', () => {
    observer = reportTraces({ tracer: trace.getTracer('mine') })
    const call = aCall()
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'ack' }] })

    expect(tracing.span('process orders').instrumentationScope.name).toBe('mine')
  })

  test('records nothing and gives no traceparent where no SDK is registered', async () => {
    await tracing.stop()
    observer = reportTraces()
    const call = aPublishCall('e-1')

    expect(observer.within?.publish?.(call, () => 'ran')).toBe('ran')
    observer.published?.({ call, durationMs: 5, bytes: [1], entryIds: ['1-0'], delayedUntil: [] })
    const handled = aCall(aRun(), { deliveries: [aDelivery(1, { traceparent: PUBLISHER })] })
    expect(observer.within?.handler?.(handled, () => 'ran')).toBe('ran')
    observer.handlerEnded?.({ call: handled, durationMs: 5, outcomes: [{ kind: 'ack' }] })

    expect([call.traceparent, tracing.spans()]).toEqual([undefined, []])
  })

  test('traces with an SDK that is registered after it was made', async () => {
    await tracing.stop()
    observer = reportTraces()
    tracing = startTracing()
    const call = aCall()
    run(call)
    observer.handlerEnded?.({ call, durationMs: 5, outcomes: [{ kind: 'ack' }] })

    expect(tracing.span('process orders').instrumentationScope.name).toBe('millrace')
  })

  test.each([
    [{ tracers: 1 }, 'unknown option "tracers"; known are tracer, invocations'],
    [{ tracer: {} }, 'tracer must be a tracer of @opentelemetry/api'],
    [{ invocations: 'no' }, 'invocations must be true or false, got string'],
    [null, 'options must be an object, got null'],
  ])('refuses the options %j', (options, rule) => {
    expect(() => reportTraces(options as never)).toThrow(new TypeError(`Cannot report traces: ${rule}`))
  })
})

function run(call: HandlerCall): void {
  observer.within?.handler?.(call, () => {})
}

function end(invocation: ReturnType<typeof anInvocation>, counts: object, error?: Error): void {
  const report = { ...aReport(counts), action: invocation.action, consumers: [] }
  observer.invocationEnded?.({ invocation, report, error })
}

function aPublishCall(...eventIds: string[]): PublishCall {
  return { stream: 'orders', events: eventIds.map((eventId) => ({ type: 'OrderPaid', eventId })) }
}

function aNotice(more: Partial<DeadLetterNotice> = {}): DeadLetterNotice {
  return {
    stream: 'orders',
    group: 'billing',
    deadLetters: '{orders}:billing:dlq',
    entryId: '1-0',
    deliveryCount: 5,
    reason: 'max-deliveries',
    eventType: 'OrderPaid',
    ...more,
  }
}
