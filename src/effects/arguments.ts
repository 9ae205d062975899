import type { ConsumerKeys } from '../core/keys.ts'
import { exampleInSlot, hashSlot, isKeyBesideStream, isKeyOfConsumer } from '../core/keys.ts'
import { assertInteger, assertText, wrongUseError } from '../core/options.ts'
import type { JoinedCommand } from '../core/outcome.ts'
import { quotedValue } from '../errors.ts'

const LOWEST = -(2n ** 63n)
const HIGHEST = 2n ** 63n - 1n

/** A hundred years. */
const MAX_TTL_MS = 3_155_760_000_000

/** @throws {TypeError} No key, one of another hash slot, or one of the consumer's own. */
export function checkKey(action: string, keys: ConsumerKeys, key: unknown): void {
  textOf(action, 'key', key)
  if (hashSlot(key as string) !== hashSlot(keys.stream))
    throw wrongUseError(
      action,
      `its key must lie in the stream's hash slot, as ${exampleInSlot(keys.stream)}, which key() of the effects gives`,
    )
  if (isOwnKey(keys, key as string)) throw wrongUseError(action, "its key must not be one of the consumer's own")
}

/** What a promise hangs on: the stream, what has the group's name before it, and what lies beside the stream. */
function isOwnKey(keys: ConsumerKeys, key: string): boolean {
  const ofGroup = keys.due.slice(0, -'due'.length)
  return isKeyOfConsumer(keys, key) || key.startsWith(ofGroup) || isKeyBesideStream(keys.stream, key)
}

/** @param mayBeEmpty Default false. @throws {TypeError} No text of whole characters. */
export function textOf(action: string, name: string, value: unknown, mayBeEmpty = false): string {
  if (value !== '' || !mayBeEmpty) assertText(action, name, value)
  const text = value as string
  if (!text.isWellFormed()) throw wrongUseError(action, `${name} must be text of whole characters`)
  return text
}

/** @throws {TypeError} Something else than texts, or none. */
export function someTexts(action: string, name: string, values: readonly unknown[]): readonly string[] {
  if (values.length === 0) throw wrongUseError(action, `${name} must be one at least`)
  return values.map((value) => textOf(action, name, value, true))
}

/** @throws {TypeError | RangeError} Neither a text nor a number. */
export function valueText(action: string, name: string, value: unknown): string {
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'number') return textOf(action, name, value, true)
  if (!Number.isFinite(value)) throw wrongUseError(action, `${name} must be finite, got ${value}`, RangeError)
  return String(value)
}

/** @throws {TypeError | RangeError} No integer of 64 bits. */
export function integerText(action: string, name: string, value: unknown): string {
  if (typeof value !== 'number' && typeof value !== 'bigint')
    throw wrongUseError(action, `${name} must be a whole number or a bigint, got ${typeof value}`)
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw wrongUseError(action, `${name} must be a whole number, a bigint beyond 2^53, got ${value}`, RangeError)
  if (value < LOWEST || value > HIGHEST)
    throw wrongUseError(action, `${name} must be an integer of 64 bits, got ${value}`, RangeError)
  return String(value)
}

/** @throws {TypeError | RangeError} No number. */
export function scoreText(action: string, score: unknown): string {
  if (typeof score !== 'number') throw wrongUseError(action, `score must be a number, got ${typeof score}`)
  if (Number.isNaN(score)) throw wrongUseError(action, 'score must be a number, got NaN', RangeError)
  return Number.isFinite(score) ? String(score) : score > 0 ? '+inf' : '-inf'
}

/** @throws {TypeError | RangeError} No time to live. */
export function checkTtlMs(action: string, ttlMs: unknown): number {
  assertInteger(action, 'ttlMs', ttlMs, 1, MAX_TTL_MS)
  return ttlMs as number
}

/** @throws {TypeError} A stream of another hash slot, or a key of the consumer's own that is not its stream. */
export function checkStream(action: string, keys: ConsumerKeys, stream: string): void {
  if (hashSlot(stream) !== hashSlot(keys.stream))
    throw wrongUseError(
      action,
      `its publisher's stream must lie in the hash slot of ${quotedValue(keys.stream)}, as ${exampleInSlot(keys.stream)}, got ${quotedValue(stream)}`,
    )
  if (stream !== keys.stream && isOwnKey(keys, stream))
    throw wrongUseError(action, "its publisher's stream must not be one of the consumer's own keys")
}

/** Bytes of a command's arguments. */
export function bytesOf(command: JoinedCommand): number {
  return command.reduce<number>((sum, argument) => sum + Buffer.byteLength(String(argument)), 0)
}
