import { MalformedEntryError } from '../errors.ts'
import type { Attributes, DecodedEvent } from './codec.ts'
import { withOptionalTexts } from './codec.ts'
import { isPlainObject } from './plain-object.ts'
import { ignoreRejectionsWithin, isThenable } from './thenable.ts'

/**
 * What a codec answered, as an event of ours: a codec of the user's own may be wrong, or asynchronous. Each member is read once and checked;
 * nothing after this meets what the codec made, but the payload. A text, and so an attribute, that is null is taken as absent.
 *
 * @param maxLength Characters of a text: more than the entry may have makes no name and no key.
 * @throws {MalformedEntryError} It is no event.
 * @throws {unknown} What reading it throws.
 */
export function checkDecodedEvent(answer: unknown, maxLength: number): DecodedEvent {
  try {
    return checked(answer, maxLength)
  } catch (error) {
    ignoreRejectionsWithin(answer)
    throw error
  }
}

function checked(answer: unknown, maxLength: number): DecodedEvent {
  if (isThenable(answer)) throw new MalformedEntryError('The codec must decode at once, not give a promise')
  const decoded = (answer ?? {}) as { readonly [Name in keyof DecodedEvent]?: unknown }
  const { type, version = 1, payload, eventId, aggregateType, aggregateId, aggregateVersion } = decoded
  const { tenantId, producer, occurredAt, traceparent, attributes } = decoded
  if (typeof type !== 'string' || type === '') throw new MalformedEntryError('The codec must name a type')
  if (!isVersion(version)) throw new MalformedEntryError('Schema version must be a whole number from 1')
  if (aggregateVersion !== undefined && aggregateVersion !== null && !isVersion(aggregateVersion))
    throw new MalformedEntryError('Aggregate version must be a whole number from 1')
  if (isThenable(payload)) throw new MalformedEntryError('The codec must not give a promise as payload')
  const text = (name: string, value: unknown) => textOf(name, value, maxLength)
  const event = { type: text('type', type) as string, version, payload, eventId: text('eventId', eventId) }
  return withOptionalTexts(event, {
    aggregateType: text('aggregateType', aggregateType),
    aggregateId: text('aggregateId', aggregateId),
    aggregateVersion: aggregateVersion ?? undefined,
    tenantId: text('tenantId', tenantId),
    producer: text('producer', producer),
    occurredAt: text('occurredAt', occurredAt),
    traceparent: text('traceparent', traceparent),
    attributes: attributesOf(attributes, maxLength),
  })
}

function isVersion(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1
}

function attributesOf(given: unknown, maxLength: number): Attributes | undefined {
  if (given === undefined || given === null) return undefined
  if (typeof given !== 'object')
    throw new MalformedEntryError(`The codec must give attributes as an object of strings, got ${typeof given}`)
  if (!isPlainObject(given)) throw new MalformedEntryError('The codec must give attributes as a plain object')
  const attributes = Object.entries(given).flatMap(([name, value]): [string, string][] => {
    const text = textOf('an attribute', value, maxLength)
    return text === undefined ? [] : [[name, text]]
  })
  return attributes.length > 0 ? Object.fromEntries(attributes) : undefined
}

function textOf(name: string, value: unknown, maxLength: number): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string')
    throw new MalformedEntryError(`The codec must give ${name} as a string, got ${typeof value}`)
  if (value.length <= maxLength) return value
  throw new MalformedEntryError(
    `The codec must give ${name} in at most maxEntryBytes, ${maxLength}, got ${value.length}`,
  )
}
