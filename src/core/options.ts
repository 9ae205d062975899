/** Checks of options. Each throws with the action, the rule and the value seen; none shows more of a value than its type or number. */
import { quotedValue } from '../errors.ts'

/** What a check throws: what cannot be done, and the rule, with the value seen. */
export function wrongUseError(action: string, rule: string, Kind: ErrorConstructor = TypeError): Error {
  return new Kind(`Cannot ${action}: ${rule}`)
}

/** @param shape How it looks, as in `{ stream }`. @throws {TypeError} Not an object, or an array. */
export function assertObject(action: string, name: string, value: unknown, shape?: string): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return
  throw wrongUseError(action, `${name} must be an object${shape ? ` as ${shape}` : ''}, got ${kindOf(value)}`)
}

/** @throws {TypeError} Not a string, or empty. */
export function assertText(action: string, name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') {
    throw wrongUseError(
      action,
      `${name} must be a string that is not empty, got ${value === '' ? '""' : kindOf(value)}`,
    )
  }
}

/** @throws {TypeError} Not a boolean. */
export function assertBoolean(action: string, name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw wrongUseError(action, `${name} must be true or false, got ${kindOf(value)}`)
}

/** @throws {TypeError} Not a function. */
export function assertFunction(action: string, name: string, value: unknown): void {
  if (typeof value !== 'function') throw wrongUseError(action, `${name} must be a function, got ${kindOf(value)}`)
}

/** @throws {TypeError | RangeError} Not a whole number within the bounds. */
export function assertInteger(
  action: string,
  name: string,
  value: unknown,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): void {
  assertNumber(action, name, value, min, max)
  if (!Number.isInteger(value)) throw wrongUseError(action, `${name} must be a whole number, got ${value}`, RangeError)
}

/** @throws {TypeError | RangeError} Not a number within the bounds. */
export function assertNumber(action: string, name: string, value: unknown, min: number, max = Infinity): void {
  if (typeof value !== 'number') throw wrongUseError(action, `${name} must be a number, got ${kindOf(value)}`)
  if (!(value >= min)) throw wrongUseError(action, `${name} must be >= ${min}, got ${value}`, RangeError)
  if (value > max) throw wrongUseError(action, `${name} must be <= ${max}, got ${value}`, RangeError)
}

/** @throws {TypeError} Not one of the values. */
export function assertOneOf(action: string, name: string, value: unknown, allowed: readonly string[]): void {
  if (!allowed.includes(value as string)) {
    const got = typeof value === 'string' ? quotedValue(value) : kindOf(value)
    throw wrongUseError(action, `${name} must be one of ${allowed.map(quotedValue).join(', ')}, got ${got}`)
  }
}

/** @throws {TypeError} A key that is not known. */
export function assertKnownKeys(action: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).filter((key) => !known.includes(key))
  if (unknown.length === 0) return
  throw wrongUseError(action, `unknown option ${unknown.map(quotedValue).join(', ')}; known are ${known.join(', ')}`)
}

/** @throws {TypeError} Not an object, or one with a key that is not known. */
export function assertKnownOptions(action: string, options: object, known: readonly string[]): void {
  assertObject(action, 'options', options)
  assertKnownKeys(action, options, known)
}

/** `options` over `defaults`: an option that is `undefined` counts as left out. */
export function withDefaults<T extends object>(
  defaults: T,
  options: { readonly [K in keyof T]?: T[K] | undefined },
): T {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(given) }
}

/** What a message says of a value: its type, and nothing of what it holds. */
export function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
}
