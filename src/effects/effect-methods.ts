import type { EventDefinition, PayloadOf } from '../define/event.ts'
import type { PublishOptions } from '../publish/publication.ts'
import type { Publisher } from '../publish/publisher.ts'

/** What an event that is published as an effect says beside its payload. It cannot be delayed. */
export type EffectPublishOptions = Pick<
  PublishOptions,
  'aggregateType' | 'aggregateId' | 'tenantId' | 'occurredAt' | 'traceparent' | 'attributes' | 'priority'
> & {
  /** Default: `<idempotencyKey>:<n>`, of the n-th event that the call publishes: the same each time the handler is called. */
  readonly eventId?: string
}

/** When a member of a sorted set gets its score: `greater` and `less` than the one it has, or it has none; it has none (`absent`); it has one (`present`). */
export type ScoreCondition = 'greater' | 'less' | 'absent' | 'present'

/**
 * What a field of a hash must be for effects to take place: that value, at least that integer (a field that is not there is 0), or nothing (`null`).
 */
export type FieldExpectation = string | number | bigint | null | { readonly atLeast: number | bigint }

/**
 * What a handler wants to happen together with the acknowledgement of its entry: all or none, in order, and once. Every key lies in the stream's hash slot, and is not one of the
 * consumer's own. Texts are whole characters.
 *
 * Each method throws a `TypeError` or `RangeError` for arguments that are wrong, and once the handler has ended; nothing is sent before it has succeeded.
 */
export interface Effects {
  /** A key in the stream's hash slot: `{orders}:booked` for `booked`. */
  key(name: string): string
  /**
   * Appends an event as that publisher would: its stream, producer, trimming and `maxEntryBytes`, whatever its `maxBacklog`. Its connection is not used, nobody is woken, and its observers hear nothing of it. A schema
   * must answer at once.
   *
   * @throws {InvalidPayloadError} The schema refuses it.
   * @throws {OversizeEntryError} It is larger than `maxEntryBytes`.
   */
  publish<Definition extends EventDefinition>(
    publisher: Publisher,
    event: Definition,
    payload: PayloadOf<Definition>,
    options?: EffectPublishOptions,
  ): this
  /** Adds to an integer of 64 bits. @param by A whole number, a bigint beyond 2^53. Default 1. @see https://redis.io/docs/latest/commands/incrby/ */
  increment(key: string, by?: number | bigint): this
  /** Sets a string, whatever the key held. @param options.ttlMs Milliseconds for which it stands. Default: for ever. */
  set(key: string, value: string | number | bigint, options?: { readonly ttlMs?: number }): this
  /** Sets fields of a hash. */
  setFields(key: string, fields: Readonly<Record<string, string | number | bigint>>): this
  /** Adds to an integer of 64 bits in a field of a hash. @param by Default 1. */
  incrementField(key: string, field: string, by?: number | bigint): this
  /**
   * Lets all these effects take place only if a field is so by then, what comes before in them included; else the entry has failed, and is retried. So what a handler has read still holds when what follows
   * from it is written.
   */
  expectField(key: string, field: string, expected: FieldExpectation): this
  /** Deletes fields of a hash. */
  deleteFields(key: string, ...fields: readonly string[]): this
  addToSet(key: string, ...members: readonly string[]): this
  removeFromSet(key: string, ...members: readonly string[]): this
  /** Gives a member of a sorted set its score. @param options.if Only then. Default: always. @see https://redis.io/docs/latest/commands/zadd/ */
  addToSortedSet(key: string, member: string, score: number, options?: { readonly if?: ScoreCondition }): this
  /** Adds to the score of a member of a sorted set, 0 if it has none. A score is a double: whole numbers are exact up to 2^53. @param by A finite number. Default 1. @see https://redis.io/docs/latest/commands/zincrby/ */
  incrementScore(key: string, member: string, by?: number): this
  removeFromSortedSet(key: string, ...members: readonly string[]): this
  /** Removes all but the members of a sorted set with the highest scores, so that it stays bounded whatever its members are named by. @param count Members that stay, 1 or more. @see https://redis.io/docs/latest/commands/zremrangebyrank/ */
  keepHighest(key: string, count: number): this
  /** Counts elements in a HyperLogLog. */
  addToHyperLogLog(key: string, ...elements: readonly string[]): this
  /** Ends a key after so many milliseconds, 1 to 100 years. */
  expire(key: string, ttlMs: number): this
  delete(key: string): this
}
