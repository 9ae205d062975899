/** Checks of options. Each throws with the action, the rule and the value seen; none shows more of a value than its type or number. */
import { quoted } from '../errors.ts'

/** What a check throws: what cannot be done, and the rule, with the value seen. */
export function cannot(action: string, rule: string, Kind: ErrorConstructor = TypeError): Error {
  return new Kind(`Cannot ${action}: ${rule}`)
}

/** @throws {TypeError} Not an object. */
export function object(action: string, name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw cannot(action, `${name} must be an object, got ${kind(value)}`)
}

/** @throws {TypeError} Not a string, or empty. */
export function text(action: string, name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') {
    throw cannot(action, `${name} must be a string that is not empty, got ${value === '' ? '""' : kind(value)}`)
  }
}

/** @throws {TypeError} Not a boolean. */
export function boolean(action: string, name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw cannot(action, `${name} must be true or false, got ${kind(value)}`)
}

/** @throws {TypeError} Not a function. */
export function callable(action: string, name: string, value: unknown): void {
  if (typeof value !== 'function') throw cannot(action, `${name} must be a function, got ${kind(value)}`)
}

/** @throws {TypeError | RangeError} Not a whole number within the bounds. */
export function integerFrom(
  action: string,
  name: string,
  value: unknown,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): void {
  numberFrom(action, name, value, min, max)
  if (!Number.isInteger(value)) throw cannot(action, `${name} must be a whole number, got ${value}`, RangeError)
}

/** @throws {TypeError | RangeError} Not a number within the bounds. */
export function numberFrom(action: string, name: string, value: unknown, min: number, max = Infinity): void {
  if (typeof value !== 'number') throw cannot(action, `${name} must be a number, got ${kind(value)}`)
  if (!(value >= min)) throw cannot(action, `${name} must be >= ${min}, got ${value}`, RangeError)
  if (value > max) throw cannot(action, `${name} must be <= ${max}, got ${value}`, RangeError)
}

/** @throws {TypeError} Not one of the values. */
export function oneOf(action: string, name: string, value: unknown, allowed: readonly string[]): void {
  if (!allowed.includes(value as string)) {
    const got = typeof value === 'string' ? quoted(value) : kind(value)
    throw cannot(action, `${name} must be one of ${allowed.map(quoted).join(', ')}, got ${got}`)
  }
}

/** @throws {TypeError} A key that is not known. */
export function refuseUnknownKeys(action: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).filter((key) => !known.includes(key))
  if (unknown.length === 0) return
  throw cannot(action, `unknown option ${unknown.map(quoted).join(', ')}; known are ${known.join(', ')}`)
}

/** @throws {TypeError} Not an object, or one with a key that is not known. */
export function knownOptions(action: string, options: object, known: readonly string[]): void {
  object(action, 'options', options)
  refuseUnknownKeys(action, options, known)
}

/** `options` over `defaults`: an option that is `undefined` counts as left out. */
export function withDefaults<T extends object>(
  defaults: T,
  options: { readonly [K in keyof T]?: T[K] | undefined },
): T {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(given) }
}

function kind(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
}
