/** What spans say, after the conventions for messaging. */
import type { Attributes, Link, Span } from '@opentelemetry/api'
import { SpanStatusCode } from '@opentelemetry/api'
import type { ObservedDelivery, PublishCall } from '../../define/observe.ts'
import { parseTraceparent } from './traceparent.ts'

export type StreamAndGroup = { readonly stream: string; readonly group?: string }

export function operationAttributes(name: string, type?: string): Attributes {
  const system = { 'messaging.system': 'redis', 'messaging.operation.name': name }
  return type ? { ...system, 'messaging.operation.type': type } : system
}

export function streamAttributes({ stream, group }: StreamAndGroup): Attributes {
  return {
    'messaging.destination.name': stream,
    ...(group !== undefined && { 'messaging.consumer.group.name': group }),
  }
}

export function spanName(attributes: Attributes): string {
  const { 'messaging.operation.name': name, 'messaging.destination.name': destination } = attributes
  return destination === undefined ? `${name}` : `${name} ${destination}`
}

export function eventTypeAttributes(events: PublishCall['events']): Attributes {
  const types = new Set(events.map(({ type }) => type))
  return types.size === 1 ? { 'millrace.event_type': [...types][0] as string } : {}
}

export function messageAttributes(delivery: ObservedDelivery | undefined): Attributes {
  return delivery ? { 'messaging.message.id': delivery.entryId, 'millrace.delivery_count': delivery.deliveryCount } : {}
}

export function traceparentLinks(traceparent: string | undefined, attributes: Attributes = {}): Link[] {
  const publisher = parseTraceparent(traceparent)
  return publisher ? [{ context: publisher, attributes }] : []
}

export function spanKeyOfEntry({ stream, group }: StreamAndGroup, entryId: string): string {
  return JSON.stringify([stream, group, entryId])
}

export function markSpanFailed(span: Span, error: unknown): void {
  span.setStatus({ code: SpanStatusCode.ERROR }).setAttributes(errorAttributes(error))
}

/** Handlers may throw anything, also what cannot be read. */
export function errorAttributes(error: unknown): Attributes {
  try {
    const { name } = (error ?? {}) as { readonly name?: unknown }
    return { 'error.type': typeof name === 'string' && name ? name : '_OTHER' }
  } catch {
    return { 'error.type': '_OTHER' }
  }
}
