import type { StandardSchemaV1 } from '@standard-schema/spec'
import {
  assertFunction,
  assertInteger,
  assertKnownOptions,
  assertObject,
  assertText,
  kindOf,
  wrongUseError,
} from '../core/options.ts'
import { quotedValue } from '../errors.ts'

/** `upcast[n]` lifts a payload of version n to n + 1. What the last one returns is checked by the schema. */
export type Upcasts = Readonly<Record<number, (old: Record<string, unknown>) => unknown>>

/** An event type: its name, its version, its payload's schema, and how older payloads are lifted. */
export interface EventDefinition<Type extends string = string, Schema extends StandardSchemaV1 = StandardSchemaV1> {
  readonly type: Type
  readonly version: number
  readonly payload: Schema
  readonly upcast: Upcasts
}

/** What a type of event is made of. */
export interface EventOptions<Schema extends StandardSchemaV1> {
  /** Any Standard Schema: zod, valibot, arktype, or your own. May be asynchronous. */
  readonly payload: Schema
  /** The version that `publish` writes; 1 or more. Default 1. */
  readonly version?: number
  /** How payloads of older versions are lifted. An older version without an upcast becomes a dead letter, `unsupported-version`. */
  readonly upcast?: Upcasts
}

/** What a handler receives. Its payload is its own copy: changing it changes nothing elsewhere. */
export interface Event<Type extends string = string, Payload = unknown> {
  readonly type: Type
  /** The definition's version: older payloads have been lifted. */
  readonly version: number
  readonly payload: Payload
  /** The publisher's id of this event; for an entry without one, `<stream>:<entryId>`. */
  readonly eventId: string
  readonly aggregateType?: string
  readonly aggregateId?: string
  /** Which event of its aggregate it is, from 1, if it was published with `expectedVersion`. */
  readonly aggregateVersion?: number
  readonly tenantId?: string
  readonly producer?: string
  /** ISO 8601. */
  readonly occurredAt?: string
  /** W3C trace context. */
  readonly traceparent?: string
  /** What its entry says beside all that, by name: of `envelopeCodec` its further fields. Left out where there is nothing. */
  readonly attributes?: Readonly<Record<string, string>>
}

/** The event that handlers of a definition receive: its payload has the schema's output type. */
export type EventOf<Definition extends EventDefinition> = Event<
  Definition['type'],
  StandardSchemaV1.InferOutput<Definition['payload']>
>

/** What `publish` takes as payload: the schema's input type. */
export type PayloadOf<Definition extends EventDefinition> = StandardSchemaV1.InferInput<Definition['payload']>

/**
 * Defines an event type.
 *
 * @throws {TypeError | RangeError} A bad option; the message names the rule and the value.
 */
export function defineEvent<const Type extends string, Schema extends StandardSchemaV1>(
  type: Type,
  options: EventOptions<Schema>,
): EventDefinition<Type, Schema> {
  const action = typeof type === 'string' ? `define event ${quotedValue(type)}` : 'define event'
  assertText(action, 'type', type)
  // some schema libraries' schemas are functions
  if (isSchema(options)) throw wrongUseError(action, 'the schema must be given as { payload: schema }')
  assertKnownOptions(action, options, ['payload', 'version', 'upcast'])
  const { payload, version = 1, upcast = {} } = options
  if (!isSchema(payload)) {
    throw wrongUseError(
      action,
      `payload must be a Standard Schema, as of zod, valibot or arktype, got ${kindOf(payload)}; for a payload of any shape take z.unknown()`,
    )
  }
  assertInteger(action, 'version', version, 1)
  assertObject(action, 'upcast', upcast, '{ 1: (old) => … }')
  for (const [from, lift] of Object.entries(upcast)) {
    if (!/^[1-9]\d*$/.test(from) || Number(from) >= version) {
      throw wrongUseError(
        action,
        version === 1
          ? 'upcast needs a version of 2 or more, got version 1'
          : `upcast must lift versions from 1 to ${version - 1}, got ${quotedValue(from)}`,
        RangeError,
      )
    }
    assertFunction(action, `upcast[${from}]`, lift)
  }
  return Object.freeze({ type, version, payload, upcast: Object.freeze({ ...upcast }) })
}

/** @throws {TypeError} Not what `defineEvent` gives. */
export function assertEventDefinition(action: string, event: EventDefinition): void {
  const { type, payload } = (event ?? {}) as Partial<EventDefinition>
  if (typeof type === 'string' && type !== '' && isSchema(payload)) return
  const name = typeof type === 'string' ? `event ${quotedValue(type)}` : 'event'
  throw wrongUseError(action, `${name} must come from defineEvent, got ${kindOf(event)}`)
}

function isSchema(value: unknown): value is StandardSchemaV1 {
  return typeof (value as Partial<StandardSchemaV1> | null | undefined)?.['~standard']?.validate === 'function'
}
