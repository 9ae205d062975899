import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'

/** An SDK that keeps what is recorded; registered for the whole process until `stop`. */
export function startTracing() {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  trace.setGlobalTracerProvider(provider)
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  return {
    /** Those that ended, in that order. */
    spans: (): readonly ReadableSpan[] => exporter.getFinishedSpans(),
    /** The one of that name. */
    span(name: string): ReadableSpan {
      const [span, ...others] = exporter.getFinishedSpans().filter((one) => one.name === name)
      if (!span || others.length > 0) throw new Error(`Expected one span ${name}, got ${1 + others.length - +!span}`)
      return span
    },
    async stop(): Promise<void> {
      trace.disable()
      context.disable()
      await provider.shutdown()
    },
  }
}

/** A span as W3C `traceparent`. */
export function traceparentOf(span: ReadableSpan): string {
  const { traceId, spanId } = span.spanContext()
  return `00-${traceId}-${spanId}-01`
}
