import type { ConsumerKeys } from '../core/keys.ts'
import { slotPrefix } from '../core/keys.ts'
import { assertInteger, assertKnownOptions, assertObject, assertOneOf, wrongUseError } from '../core/options.ts'
import type { JoinedCommand } from '../core/outcome.ts'
import type { EventDefinition, PayloadOf } from '../define/event.ts'
import { quotedValue } from '../errors.ts'
import type { Upload } from '../publish/encode-events.ts'
import type { Publisher } from '../publish/publisher.ts'
import { bytesOf, checkKey, checkTtlMs, integerText, scoreText, someTexts, textOf, valueText } from './arguments.ts'
import type { EffectPublishOptions, Effects, FieldExpectation, ScoreCondition } from './effect-methods.ts'
import { publishCommand } from './publish-command.ts'

/** What ZADD calls a condition. */
const CONDITIONS: Readonly<Record<ScoreCondition, string>> = { greater: 'GT', less: 'LT', absent: 'NX', present: 'XX' }

/** What a command makes of its key, or needs it to be. SET makes a string of anything, DEL nothing, and PEXPIRE takes whatever is there. */
const KINDS: Readonly<Record<string, string>> = {
  INCRBY: 'string',
  HSET: 'hash',
  HINCRBY: 'hash',
  HDEL: 'hash',
  HGET: 'hash',
  SADD: 'set',
  SREM: 'set',
  ZADD: 'sorted set',
  ZINCRBY: 'sorted set',
  ZREM: 'sorted set',
  ZREMRANGEBYRANK: 'sorted set',
  PFADD: 'HyperLogLog',
  XADD: 'stream',
}

/** The call that effects are of. */
interface CallOfEffects {
  readonly keys: ConsumerKeys
  /** @throws {TypeError} Its handler has ended. */
  assertOpen(action: string): void
  /** @throws {RangeError} With that command it would be more than one request takes. */
  assertRoom(action: string, list: EffectList, command: JoinedCommand): void
  /** Keeps payloads that do not stand in their entries. */
  store(uploads: readonly Upload[]): void
}

/** Effects as they were asked for, in order. */
export class EffectList implements Effects {
  readonly #call: CallOfEffects
  readonly #idempotencyKey: string
  readonly #commands: JoinedCommand[] = []
  /** What each key is by then, as far as these effects say. */
  readonly #kinds = new Map<string, string>()
  #published = 0
  /** As `countJoinArguments` counts them, but for the entry itself. */
  arguments = 0
  bytes = 0

  constructor(call: CallOfEffects, idempotencyKey: string) {
    this.#call = call
    this.#idempotencyKey = idempotencyKey
  }

  get commands(): readonly JoinedCommand[] {
    return this.#commands
  }

  key(name: string): string {
    return `${slotPrefix(this.#call.keys.stream)}:${textOf('name a key', 'name', name)}`
  }

  publish<Definition extends EventDefinition>(
    publisher: Publisher,
    event: Definition,
    payload: PayloadOf<Definition>,
    options: EffectPublishOptions = {},
  ): this {
    this.#call.assertOpen('publish as an effect')
    const eventId = `${this.#idempotencyKey}:${this.#published + 1}`
    const uploads: Upload[] = []
    const keep = (upload: Upload) => void uploads.push(upload)
    const command = publishCommand(this.#call.keys, publisher, [event, payload, options], eventId, keep)
    this.#add(`publish ${quotedValue(event.type)} as an effect`, command)
    this.#published++
    this.#call.store(uploads)
    return this
  }

  increment(key: string, by: number | bigint = 1): this {
    return this.#on('increment', key, (action) => ['INCRBY', integerText(action, 'by', by)])
  }

  set(key: string, value: string | number | bigint, options: { readonly ttlMs?: number } = {}): this {
    return this.#on('set', key, (action) => {
      assertKnownOptions(action, options, ['ttlMs'])
      const { ttlMs } = options
      const expiry = ttlMs === undefined ? [] : ['PX', checkTtlMs(action, ttlMs)]
      return ['SET', valueText(action, 'value', value), ...expiry]
    })
  }

  setFields(key: string, fields: Readonly<Record<string, string | number | bigint>>): this {
    return this.#on('set fields of', key, (action) => {
      assertObject(action, 'fields', fields)
      const pairs = Object.entries(fields).flatMap(([field, value]) => [
        valueText(action, 'a field', field),
        valueText(action, 'the value of a field', value),
      ])
      if (pairs.length === 0) throw wrongUseError(action, 'fields must have one at least')
      return ['HSET', ...pairs]
    })
  }

  incrementField(key: string, field: string, by: number | bigint = 1): this {
    return this.#on('increment a field of', key, (action) => [
      'HINCRBY',
      textOf(action, 'field', field, true),
      integerText(action, 'by', by),
    ])
  }

  expectField(key: string, field: string, expected: FieldExpectation): this {
    return this.#on('expect a field of', key, (action) => {
      const name = textOf(action, 'field', field, true)
      if (expected === null) return ['HGET', name, 'none']
      if (typeof expected !== 'object') return ['HGET', name, 'is', valueText(action, 'expected', expected)]
      assertKnownOptions(action, expected, ['atLeast'])
      return ['HGET', name, 'min', integerText(action, 'atLeast', expected.atLeast)]
    })
  }

  deleteFields(key: string, ...fields: readonly string[]): this {
    return this.#on('delete fields of', key, (action) => ['HDEL', ...someTexts(action, 'fields', fields)])
  }

  addToSet(key: string, ...members: readonly string[]): this {
    return this.#on('add to', key, (action) => ['SADD', ...someTexts(action, 'members', members)])
  }

  removeFromSet(key: string, ...members: readonly string[]): this {
    return this.#on('remove from', key, (action) => ['SREM', ...someTexts(action, 'members', members)])
  }

  addToSortedSet(key: string, member: string, score: number, options: { readonly if?: ScoreCondition } = {}): this {
    return this.#on('add to', key, (action) => {
      assertKnownOptions(action, options, ['if'])
      if (options.if !== undefined) assertOneOf(action, 'if', options.if, Object.keys(CONDITIONS))
      const condition = options.if === undefined ? [] : [CONDITIONS[options.if]]
      return ['ZADD', ...condition, scoreText(action, score), textOf(action, 'member', member, true)]
    })
  }

  incrementScore(key: string, member: string, by = 1): this {
    return this.#on('increment a score of', key, (action) => {
      if (typeof by !== 'number' || !Number.isFinite(by))
        throw wrongUseError(action, `by must be a finite number, got ${typeof by === 'number' ? by : typeof by}`)
      return ['ZINCRBY', by, textOf(action, 'member', member, true)]
    })
  }

  removeFromSortedSet(key: string, ...members: readonly string[]): this {
    return this.#on('remove from', key, (action) => ['ZREM', ...someTexts(action, 'members', members)])
  }

  keepHighest(key: string, count: number): this {
    return this.#on('keep the highest of', key, (action) => {
      assertInteger(action, 'count', count, 1, Number.MAX_SAFE_INTEGER)
      return ['ZREMRANGEBYRANK', 0, -count - 1]
    })
  }

  addToHyperLogLog(key: string, ...elements: readonly string[]): this {
    return this.#on('add to', key, (action) => ['PFADD', ...someTexts(action, 'elements', elements)])
  }

  expire(key: string, ttlMs: number): this {
    return this.#on('expire', key, (action) => ['PEXPIRE', checkTtlMs(action, ttlMs)])
  }

  delete(key: string): this {
    return this.#on('delete', key, () => ['DEL'])
  }

  #on(verb: string, key: string, make: (action: string) => readonly [string, ...(string | number)[]]): this {
    const action = `${verb} ${typeof key === 'string' ? quotedValue(key) : 'a key'} as an effect`
    this.#call.assertOpen(action)
    checkKey(action, this.#call.keys, key)
    const [name, ...args] = make(action)
    return this.#add(action, [name, key, ...args])
  }

  #add(action: string, command: JoinedCommand): this {
    const [name, key = ''] = command
    this.#checkKind(action, name, String(key))
    this.#call.assertRoom(action, this, command)
    this.#commands.push(command)
    this.arguments += command.length + 3
    this.bytes += bytesOf(command)
    this.#noteKind(name, String(key))
    return this
  }

  /** What empties a key leaves nothing of its type, which neither server nor memory foresees: so no other one may follow without DEL or SET. */
  #checkKind(action: string, name: string, key: string): void {
    const [is, kind] = [this.#kinds.get(key), KINDS[name]]
    if (is !== undefined && kind !== undefined && is !== kind)
      throw wrongUseError(action, `its key must be of one type, got a ${is} and a ${kind}`)
  }

  #noteKind(name: string, key: string): void {
    const kind = name === 'SET' ? 'string' : KINDS[name]
    if (kind !== undefined) this.#kinds.set(key, kind)
    if (name === 'DEL') this.#kinds.delete(key)
  }
}
