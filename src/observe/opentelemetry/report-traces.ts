import type { Attributes, Context, Link, Span, SpanContext, Tracer } from '@opentelemetry/api'
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { boolean, cannot, knownOptions } from '../../core/options.ts'
import type {
  HandlerCall,
  Observed,
  ObservedDelivery,
  ObservedInvocation,
  Observer,
  PublishCall,
} from '../../define/observe.ts'
import { formatTraceparent, parseTraceparent } from './traceparent.ts'

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
 * Failures are told by their names, as `error.type`; messages and stacks are not, since they may quote a payload. Without a registered SDK
 * nothing is recorded. Spans are exported by your SDK, which has to flush before Lambda freezes the process.
 *
 * @throws {TypeError} A bad option.
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
export function reportTraces(options: ReportTracesOptions = {}): Observer {
  const { tracer, invocations } = resolve(options)
  const running = new WeakMap<ObservedInvocation | HandlerCall | PublishCall, Span>()
  /** By entry, the handlers that failed it: dead letters are written later. */
  const failed = new WeakMap<ObservedInvocation, Map<string, SpanContext>>()

  function start(of: ObservedInvocation | HandlerCall | PublishCall, span: Span): Context {
    running.set(of, span)
    return trace.setSpan(context.active(), span)
  }

  function end(of: ObservedInvocation | HandlerCall | PublishCall, finish: (span: Span) => void): void {
    const span = running.get(of)
    if (!span) return
    running.delete(of)
    finish(span)
    span.end()
  }

  /** The invocation's span is nobody's active one: invocations may overlap. */
  function parentOf(invocation: ObservedInvocation, span?: SpanContext): Context {
    const parent = span ?? running.get(invocation)?.spanContext()
    return parent ? trace.setSpanContext(context.active(), parent) : context.active()
  }

  return {
    invocationStarted(invocation) {
      if (!invocations) return
      const { action, consumers } = invocation
      const attributes = {
        ...operation(action),
        ...(consumers.length === 1 && consumers[0] && placeOf(consumers[0])),
        'faas.invocation_id': invocation.context.awsRequestId,
      }
      start(invocation, tracer.startSpan(nameOf(attributes), { attributes }))
    },
    invocationEnded({ invocation, report, error }) {
      end(invocation, (span) => {
        for (const [name, value] of Object.entries(report))
          if (typeof value === 'number' && value > 0) span.setAttribute(`millrace.report.${name}`, value)
        if (error) fail(span, error)
      })
    },
    within: {
      publish(call, run) {
        const { stream, events } = call
        const attributes = {
          ...operation('publish', 'send'),
          ...placeOf({ stream }),
          ...(events.length > 1 && { 'messaging.batch.message_count': events.length }),
          ...typesOf(events),
        }
        const span = tracer.startSpan(nameOf(attributes), { kind: SpanKind.PRODUCER, attributes })
        call.traceparent = formatTraceparent(span.spanContext()) ?? call.traceparent
        return context.with(start(call, span), run)
      },
      handler(call, run) {
        const { deliveries, isBatch, eventType } = call
        const attributes = {
          ...operation('process', 'process'),
          ...placeOf(call),
          'messaging.client.id': call.consumerName,
          'millrace.event_type': eventType,
          ...(isBatch ? { 'messaging.batch.message_count': deliveries.length } : messageOf(deliveries[0])),
        }
        const links = deliveries.flatMap((delivery) =>
          linksTo(delivery.traceparent, isBatch ? messageOf(delivery) : {}),
        )
        const spanOptions = { kind: SpanKind.CONSUMER, attributes, links }
        const span = tracer.startSpan(nameOf(attributes), spanOptions, parentOf(call.invocation))
        return context.with(start(call, span), run)
      },
    },
    handlerEnded({ call, outcomes }) {
      end(call, (span) => {
        if (!call.isBatch && outcomes[0]) span.setAttribute('millrace.outcome', outcomes[0].kind)
        const failure = outcomes.find(({ kind }) => kind !== 'ack')
        if (failure) fail(span, failure.error)
        for (const [n, { kind, error }] of outcomes.entries()) {
          const delivery = call.deliveries[n]
          if (kind === 'ack' || !delivery) continue
          span.addEvent(kind, { ...messageOf(delivery), ...errorOf(error) })
          if (kind === 'dead-letter') remember(call, delivery, span)
        }
      })
    },
    deadLettered: (letter) => spanLetter(letter, false),
    deadLetterRefused: (letter) => spanLetter(letter, true),
    published({ call, entryIds, error }) {
      end(call, (span) => {
        if (call.events.length === 1 && entryIds[0]) span.setAttribute('messaging.message.id', entryIds[0])
        if (error) fail(span, error)
      })
    },
  }

  function spanLetter({ invocation, notice }: Observed['deadLettered'], isRefused: boolean): void {
    const { entryId, reason, deadLetters, traceparent, eventType } = notice
    const attributes = {
      ...operation('dead-letter', 'settle'),
      ...placeOf(notice),
      'messaging.message.id': entryId,
      'millrace.dead_letter.reason': reason,
      'millrace.dead_letter.stream': deadLetters,
      ...(eventType && { 'millrace.event_type': eventType }),
    }
    const key = keyOf(notice, entryId)
    const parent = parentOf(invocation, failed.get(invocation)?.get(key))
    failed.get(invocation)?.delete(key)
    const spanOptions = { kind: SpanKind.CLIENT, attributes, links: linksTo(traceparent) }
    const span = tracer.startSpan(nameOf(attributes), spanOptions, parent)
    if (isRefused) fail(span, undefined)
    span.end()
  }

  function remember({ invocation, ...place }: HandlerCall, { entryId }: ObservedDelivery, span: Span): void {
    const own = failed.get(invocation) ?? new Map<string, SpanContext>()
    failed.set(invocation, own.set(keyOf(place, entryId), span.spanContext()))
  }
}

function resolve(options: ReportTracesOptions): Required<ReportTracesOptions> {
  const action = 'report traces'
  knownOptions(action, options, ['tracer', 'invocations'])
  const { tracer = trace.getTracer('millrace'), invocations = true } = options
  boolean(action, 'invocations', invocations)
  if (typeof tracer?.startSpan !== 'function') throw cannot(action, 'tracer must be a tracer of @opentelemetry/api')
  return { tracer, invocations }
}

type Place = { readonly stream: string; readonly group?: string }

function operation(name: string, type?: string): Attributes {
  const system = { 'messaging.system': 'redis', 'messaging.operation.name': name }
  return type ? { ...system, 'messaging.operation.type': type } : system
}

function placeOf({ stream, group }: Place): Attributes {
  return {
    'messaging.destination.name': stream,
    ...(group !== undefined && { 'messaging.consumer.group.name': group }),
  }
}

function nameOf(attributes: Attributes): string {
  const { 'messaging.operation.name': name, 'messaging.destination.name': destination } = attributes
  return destination === undefined ? `${name}` : `${name} ${destination}`
}

function typesOf(events: PublishCall['events']): Attributes {
  const types = new Set(events.map(({ type }) => type))
  return types.size === 1 ? { 'millrace.event_type': [...types][0] as string } : {}
}

function messageOf(delivery: ObservedDelivery | undefined): Attributes {
  return delivery ? { 'messaging.message.id': delivery.entryId, 'millrace.delivery_count': delivery.deliveryCount } : {}
}

function linksTo(traceparent: string | undefined, attributes: Attributes = {}): Link[] {
  const publisher = parseTraceparent(traceparent)
  return publisher ? [{ context: publisher, attributes }] : []
}

function keyOf({ stream, group }: Place, entryId: string): string {
  return JSON.stringify([stream, group, entryId])
}

function fail(span: Span, error: unknown): void {
  span.setStatus({ code: SpanStatusCode.ERROR }).setAttributes(errorOf(error))
}

/** Handlers may throw anything, also what cannot be read. */
function errorOf(error: unknown): Attributes {
  try {
    const { name } = (error ?? {}) as { readonly name?: unknown }
    return { 'error.type': typeof name === 'string' && name ? name : '_OTHER' }
  } catch {
    return { 'error.type': '_OTHER' }
  }
}
