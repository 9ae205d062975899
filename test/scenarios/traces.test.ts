import { trace } from '@opentelemetry/api'
import type { Event, HandlerContext } from 'millrace'
import { createPoller, createPublisher, NonRetryableError } from 'millrace'
import { reportTraces } from 'millrace/opentelemetry'
import { describe, expect, it, onTestFinished } from 'vitest'
import { billing, OrderPaid } from '../support/consumer.ts'
import { lambdaContext, startScenario } from '../support/scenario.ts'
import { startTracing, traceparentOf } from '../support/spans.ts'

describe('a trace', () => {
  it('leads from the publisher through the stream to the handler and into the dead letter', async () => {
    const scenario = await startScenario()
    const tracing = startTracing()
    onTestFinished(() => tracing.stop())
    const observe = reportTraces()
    const events: Event[] = []
    const handler = async (event: Event, _context: HandlerContext) => {
      events.push(event)
      trace.getTracer('user').startSpan('mail').end()
      throw new NonRetryableError('secret')
    }

    const { redis, raw, deadLetters } = scenario
    await createPublisher({ stream: 'orders', redis, observe }).publish(OrderPaid, { orderId: 'o-1' })
    await createPoller(billing(handler), { redis, observe })({}, lambdaContext())

    const published = tracing.span('publish orders')
    const traceparent = traceparentOf(published)
    const [[entryId, fields] = ['', []]] = await raw.xrange('orders', '-', '+')
    expect(fields[fields.indexOf('traceparent') + 1]).toBe(traceparent)
    expect(published.attributes['messaging.message.id']).toBe(entryId)
    expect(events).toEqual([expect.objectContaining({ traceparent })])
    expect((await deadLetters()).map(({ head }) => head.traceparent)).toEqual([traceparent])

    const [poll, processed, mail, letter] = ['poll orders', 'process orders', 'mail', 'dead-letter orders'].map(
      (name) => tracing.span(name),
    )
    const { traceId, spanId } = published.spanContext()
    for (const span of [processed, letter])
      expect(span?.links).toEqual([{ context: { traceId, spanId, traceFlags: 1, isRemote: true } }])
    expect(processed?.parentSpanContext?.spanId).toBe(poll?.spanContext().spanId)
    expect(mail?.parentSpanContext?.spanId).toBe(processed?.spanContext().spanId)
    expect(letter?.parentSpanContext?.spanId).toBe(processed?.spanContext().spanId)
    expect(processed?.attributes).toMatchObject({
      'error.type': 'NonRetryableError',
      'millrace.outcome': 'dead-letter',
      'messaging.message.id': entryId,
    })
    expect(letter?.attributes['millrace.dead_letter.reason']).toBe('non-retryable')
    expect(tracing.spans()).toHaveLength(5)
    expect(
      JSON.stringify(tracing.spans().map(({ attributes, events, status }) => [attributes, events, status])),
    ).not.toMatch(/secret|o-1/)
  })

  it('keeps the traceparent that a publisher gives its event', async () => {
    const { redis, raw } = await startScenario()
    const tracing = startTracing()
    onTestFinished(() => tracing.stop())
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

    const orders = createPublisher({ stream: 'orders', redis, observe: reportTraces() })
    await orders.publish(OrderPaid, { orderId: 'o-1' }, { traceparent })

    const [[, fields] = ['', []]] = await raw.xrange('orders', '-', '+')
    expect(fields[fields.indexOf('traceparent') + 1]).toBe(traceparent)
  })

  it('says of a request that was refused what it failed with, once', async () => {
    const { redis } = await startScenario()
    const tracing = startTracing()
    onTestFinished(() => tracing.stop())

    const orders = createPublisher({ stream: 'orders', redis, observe: reportTraces() })
    await expect(orders.publish(OrderPaid, { orderId: 7 } as never)).rejects.toThrow('must fit its schema')

    expect(tracing.spans().map(({ name, attributes }) => [name, attributes['error.type']])).toEqual([
      ['publish orders', 'InvalidPayloadError'],
    ])
  })
})
