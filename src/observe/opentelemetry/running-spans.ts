import type { Context, Span, SpanContext, SpanOptions, Tracer } from '@opentelemetry/api'
import { context, trace } from '@opentelemetry/api'
import type { HandlerCall, ObservedDelivery, ObservedInvocation, PublishCall } from '../../define/observe.ts'
import type { StreamAndGroup } from './attributes.ts'
import { spanKeyOfEntry, spanName } from './attributes.ts'

type Spanned = ObservedInvocation | HandlerCall | PublishCall

/** The spans of what is under way. */
export class RunningSpans {
  readonly #tracer: Tracer
  readonly #running = new WeakMap<Spanned, Span>()
  /** By entry, the handlers that failed it: dead letters are written later. */
  readonly #failed = new WeakMap<ObservedInvocation, Map<string, SpanContext>>()

  constructor(tracer: Tracer) {
    this.#tracer = tracer
  }

  /** A span named by its attributes. */
  make(options: SpanOptions & Required<Pick<SpanOptions, 'attributes'>>, parent?: Context): Span {
    return this.#tracer.startSpan(spanName(options.attributes), options, parent)
  }

  /** @returns A context in which the span is the active one. */
  start(of: Spanned, span: Span): Context {
    this.#running.set(of, span)
    return trace.setSpan(context.active(), span)
  }

  end(of: Spanned, finish: (span: Span) => void): void {
    const span = this.#running.get(of)
    if (!span) return
    this.#running.delete(of)
    finish(span)
    span.end()
  }

  /** The invocation's span is nobody's active one: invocations may overlap. */
  parentOf(invocation: ObservedInvocation, span?: SpanContext): Context {
    const parent = span ?? this.#running.get(invocation)?.spanContext()
    return parent ? trace.setSpanContext(context.active(), parent) : context.active()
  }

  /** Notes which span failed an entry that becomes a dead letter. */
  remember({ invocation, ...place }: HandlerCall, { entryId }: ObservedDelivery, span: Span): void {
    const own = this.#failed.get(invocation) ?? new Map<string, SpanContext>()
    this.#failed.set(invocation, own.set(spanKeyOfEntry(place, entryId), span.spanContext()))
  }

  /** The context of the span that failed an entry, which is forgotten; the invocation's if none is known. */
  parentOfLetter(invocation: ObservedInvocation, place: StreamAndGroup, entryId: string): Context {
    const key = spanKeyOfEntry(place, entryId)
    const parent = this.parentOf(invocation, this.#failed.get(invocation)?.get(key))
    this.#failed.get(invocation)?.delete(key)
    return parent
  }
}
