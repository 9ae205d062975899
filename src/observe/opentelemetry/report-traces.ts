import type { Context, Tracer } from '@opentelemetry/api'
import { context, SpanKind, trace } from '@opentelemetry/api'
import { assertBoolean, assertKnownOptions, wrongUseError } from '../../core/options.ts'
import type { HandlerCall, Observed, ObservedInvocation, Observer, PublishCall } from '../../define/observe.ts'
import {
  errorAttributes,
  eventTypeAttributes,
  markSpanFailed,
  messageAttributes,
  operationAttributes,
  streamAttributes,
  traceparentLinks,
} from './attributes.ts'
import { RunningSpans } from './running-spans.ts'
import { formatTraceparent } from './traceparent.ts'

/** Who makes the spans, and which. */
export interface ReportTracesOptions {
  /** Default: `trace.getTracer('millrace')`, of whichever SDK is registered. */
  readonly tracer?: Tracer
  /** Whether an invocation of a poller or claimer is a span, too: the parent of what it handles. Default `true`. */
  readonly invocations?: boolean
}

/**
 * An observer that makes OpenTelemetry spans, after the conventions for messaging:
 *
 * - `publish <stream>` (producer), a publisher's request. Events whose publisher gave no `traceparent` carry this span's.
 * - `poll` or `claim` (internal), an invocation, with what its report counted.
 * - `process <stream>` (consumer), a call of a handler, active within it and linked to whoever published its events: a batch's to all of them.
 * - `dead-letter <stream>` (client), an entry's dead letter, written or refused, within the span of the handler that failed the entry and linked to
 *   its publisher.
 *
 * Failures are reported by their names, as `error.type`; messages and stacks are not, since they may quote a payload. Without a registered SDK
 * nothing is recorded. Spans are exported by your SDK, which has to flush before Lambda freezes the process.
 *
 * @throws {TypeError} A bad option.
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
export function reportTraces(options: ReportTracesOptions = {}): Observer {
  const { tracer, invocations } = resolve(options)
  const spans = new RunningSpans(tracer)
  return {
    invocationStarted: invocations ? (invocation) => startInvocation(spans, invocation) : () => {},
    invocationEnded: (ended) => endInvocation(spans, ended),
    within: {
      publish: (call, run) => context.with(startPublishing(spans, call), run),
      handler: (call, run) => context.with(startHandler(spans, call), run),
    },
    handlerEnded: (ended) => endHandler(spans, ended),
    deadLettered: (letter) => spanLetter(spans, letter, false),
    deadLetterRefused: (letter) => spanLetter(spans, letter, true),
    published: (ended) => endPublishing(spans, ended),
  }
}

function resolve(options: ReportTracesOptions): Required<ReportTracesOptions> {
  const action = 'report traces'
  assertKnownOptions(action, options, ['tracer', 'invocations'])
  const { tracer = trace.getTracer('millrace'), invocations = true } = options
  assertBoolean(action, 'invocations', invocations)
  if (typeof tracer?.startSpan !== 'function')
    throw wrongUseError(action, 'tracer must be a tracer of @opentelemetry/api')
  return { tracer, invocations }
}

function startInvocation(spans: RunningSpans, invocation: ObservedInvocation): void {
  const { action, consumers } = invocation
  const attributes = {
    ...operationAttributes(action),
    ...(consumers.length === 1 && consumers[0] && streamAttributes(consumers[0])),
    'faas.invocation_id': invocation.context.awsRequestId,
  }
  spans.start(invocation, spans.make({ attributes }))
}

function endInvocation(spans: RunningSpans, { invocation, report, error }: Observed['invocationEnded']): void {
  spans.end(invocation, (span) => {
    for (const [name, value] of Object.entries(report))
      if (typeof value === 'number' && value > 0) span.setAttribute(`millrace.report.${name}`, value)
    if (error) markSpanFailed(span, error)
  })
}

function startPublishing(spans: RunningSpans, call: PublishCall): Context {
  const { stream, events } = call
  const attributes = {
    ...operationAttributes('publish', 'send'),
    ...streamAttributes({ stream }),
    ...(events.length > 1 && { 'messaging.batch.message_count': events.length }),
    ...eventTypeAttributes(events),
  }
  const span = spans.make({ kind: SpanKind.PRODUCER, attributes })
  call.traceparent = formatTraceparent(span.spanContext()) ?? call.traceparent
  return spans.start(call, span)
}

function endPublishing(spans: RunningSpans, { call, entryIds, error }: Observed['published']): void {
  spans.end(call, (span) => {
    if (call.events.length === 1 && entryIds[0]) span.setAttribute('messaging.message.id', entryIds[0])
    if (error) markSpanFailed(span, error)
  })
}

function startHandler(spans: RunningSpans, call: HandlerCall): Context {
  const { deliveries, isBatch, eventType } = call
  const attributes = {
    ...operationAttributes('process', 'process'),
    ...streamAttributes(call),
    'messaging.client.id': call.consumerName,
    'millrace.event_type': eventType,
    ...(isBatch ? { 'messaging.batch.message_count': deliveries.length } : messageAttributes(deliveries[0])),
  }
  const links = deliveries.flatMap((delivery) =>
    traceparentLinks(delivery.traceparent, isBatch ? messageAttributes(delivery) : {}),
  )
  const span = spans.make({ kind: SpanKind.CONSUMER, attributes, links }, spans.parentOf(call.invocation))
  return spans.start(call, span)
}

function endHandler(spans: RunningSpans, { call, outcomes }: Observed['handlerEnded']): void {
  spans.end(call, (span) => {
    if (!call.isBatch && outcomes[0]) span.setAttribute('millrace.outcome', outcomes[0].kind)
    const failure = outcomes.find(({ kind }) => kind !== 'ack')
    if (failure) markSpanFailed(span, failure.error)
    for (const [n, { kind, error }] of outcomes.entries()) {
      const delivery = call.deliveries[n]
      if (kind === 'ack' || !delivery) continue
      span.addEvent(kind, { ...messageAttributes(delivery), ...errorAttributes(error) })
      if (kind === 'dead-letter') spans.remember(call, delivery, span)
    }
  })
}

function spanLetter(spans: RunningSpans, { invocation, notice }: Observed['deadLettered'], isRefused: boolean): void {
  const { entryId, reason, deadLetters, traceparent, eventType } = notice
  const attributes = {
    ...operationAttributes('dead-letter', 'settle'),
    ...streamAttributes(notice),
    'messaging.message.id': entryId,
    'millrace.dead_letter.reason': reason,
    'millrace.dead_letter.stream': deadLetters,
    ...(eventType && { 'millrace.event_type': eventType }),
  }
  const parent = spans.parentOfLetter(invocation, notice, entryId)
  const span = spans.make({ kind: SpanKind.CLIENT, attributes, links: traceparentLinks(traceparent) }, parent)
  if (isRefused) markSpanFailed(span, undefined)
  span.end()
}
