import type { SpanContext } from '@opentelemetry/api'
import { isSpanContextValid, TraceFlags } from '@opentelemetry/api'
import { splitTraceparent } from '../../core/traceparent.ts'

/** The span that a W3C `traceparent` names; `undefined` where it names none. */
export function parseTraceparent(text: string | undefined): SpanContext | undefined {
  const { traceId, spanId, flags } = splitTraceparent(text ?? '') ?? { traceId: '', spanId: '', flags: '' }
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true }
  return isSpanContextValid(context) ? context : undefined
}

/** A span as W3C `traceparent`; `undefined` where nobody traces. */
export function formatTraceparent(span: SpanContext): string | undefined {
  if (!isSpanContextValid(span)) return undefined
  return `00-${span.traceId}-${span.spanId}-0${span.traceFlags & TraceFlags.SAMPLED}`
}
