/**
 * Which events are for a group, in the grammar of AWS's event filtering: members that a pattern names must all match, and one of its patterns is
 * enough. The first half asks, and is what a function is deployed with; the second half checks patterns where they are defined.
 *
 * Where AWS has rules that its guide leaves out, they are those of its own matcher. One differs: numbers match by value, so that 300 is 300.0.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
 * @see https://github.com/aws/event-ruler
 */
import { quotedValue } from '../errors.ts'
import type { DecodedEvent } from './codec.ts'
import { assertBoolean, assertText, wrongUseError } from './options.ts'

/** A value that an event has as it is. */
export type FilterValue = string | number | boolean | null

/** One text, or one of several. */
type Texts = string | readonly string[]

/** What a value must be: equal to one, or as a comparison says. */
export type FilterRule =
  | FilterValue
  | { readonly prefix: string }
  | { readonly suffix: string }
  | { readonly 'equals-ignore-case': string }
  /** An operator and a number, or a lower and an upper bound: `['>', 0, '<=', 5]`. */
  | { readonly numeric: readonly (string | number)[] }
  /** Of a value, no object. `false` matches where there is none. */
  | { readonly exists: boolean }
  | {
      readonly 'anything-but':
        | FilterValue
        | readonly FilterValue[]
        | { readonly prefix: Texts }
        | { readonly suffix: Texts }
        | { readonly 'equals-ignore-case': Texts }
    }

/** What the members of an object must be: for each one of several rules, or what its own members must be. */
export interface FilterMembers {
  /** `$or` has two or more of these, of which one must match. */
  readonly [name: string]: readonly FilterRule[] | FilterMembers | readonly FilterMembers[]
}

/** What may be asked of an event, besides its payload. Texts that it does not have are absent. */
const MEMBERS = [
  'type',
  'version',
  'payload',
  'eventId',
  'aggregateType',
  'aggregateId',
  'tenantId',
  'producer',
  'occurredAt',
  'attributes',
] as const

/** What an event must be, by its members; those that are not named may be anything. */
export type FilterPattern = {
  readonly [Name in (typeof MEMBERS)[number]]?: Name extends 'payload'
    ? readonly FilterRule[] | FilterMembers
    : Name extends 'attributes'
      ? FilterMembers
      : readonly FilterRule[]
} & { readonly $or?: readonly FilterPattern[] }

/**
 * Whether one of the patterns matches an event as it was decoded.
 *
 * @param patterns As `checkFilterPatterns` lets them through.
 */
export function matchesAnyPattern(patterns: readonly FilterPattern[], event: DecodedEvent): boolean {
  return patterns.some((pattern) => isOneMatch(pattern as FilterMembers, [event], [event]))
}

/**
 * Whether one of some objects matches. Of an array each element is asked by itself, so that all rules of a pattern hold for the same one.
 *
 * @param all All that the event has at this path, for what must not exist.
 */
function isOneMatch(pattern: FilterMembers, objects: readonly unknown[], all: readonly unknown[]): boolean {
  return objects.some((object) =>
    Object.entries(pattern).every(([name, rules]) => {
      if (name === '$or') return (rules as readonly FilterMembers[]).some((one) => isOneMatch(one, [object], all))
      const own = valuesAt(object, name)
      const every = all.flatMap((other) => valuesAt(other, name))
      if (!Array.isArray(rules)) return isOneMatch(rules as FilterMembers, own.length > 0 ? own : [undefined], every)
      return (rules as readonly FilterRule[]).some((rule) => isMet(rule, own.filter(isLeaf), every))
    }),
  )
}

/** What an object has under a name; the elements of an array, of whatever depth. */
function valuesAt(object: unknown, name: string): readonly unknown[] {
  if (typeof object !== 'object' || object === null || !Object.hasOwn(object, name)) return []
  return [(object as Record<string, unknown>)[name]].flat(Infinity)
}

function isLeaf(value: unknown): boolean {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value)
}

function isMet(rule: FilterRule, values: readonly unknown[], all: readonly unknown[]): boolean {
  if (typeof rule !== 'object' || rule === null) return values.includes(rule)
  const [[name, operand] = ['']] = Object.entries(rule)
  if (name === 'exists') return operand ? values.length > 0 : !all.some(isLeaf)
  return values.some((value) => COMPARISONS[name as keyof typeof COMPARISONS](value, operand as never))
}

/** How a value is compared. What has no such value at all matches none of them. */
const COMPARISONS = {
  prefix: (value: unknown, start: string) => typeof value === 'string' && value.startsWith(start),
  suffix: (value: unknown, end: string) => typeof value === 'string' && value.endsWith(end),
  'equals-ignore-case': (value: unknown, other: string) =>
    typeof value === 'string' && value.toLowerCase() === other.toLowerCase(),
  numeric: (value: unknown, [operator, number, ...more]: readonly (string | number)[]): boolean =>
    typeof value === 'number' &&
    NUMERIC[operator as keyof typeof NUMERIC](value, number as number) &&
    (more.length === 0 || COMPARISONS.numeric(value, more)),
  'anything-but': (value: unknown, other: object | FilterValue) => {
    if (typeof other !== 'object' || other === null || Array.isArray(other)) return ![other].flat().includes(value)
    return Object.entries(other).every(([name, operands]) =>
      [operands].flat().every((operand) => !COMPARISONS[name as 'prefix'](value, operand)),
    )
  },
}

const NUMERIC = {
  '=': (value: number, other: number) => value === other,
  '<': (value: number, other: number) => value < other,
  '<=': (value: number, other: number) => value <= other,
  '>': (value: number, other: number) => value > other,
  '>=': (value: number, other: number) => value >= other,
}

/** What AWS takes at most, where somebody asked for more than five. */
export const MAX_FILTER_PATTERNS = 10

/** Objects within each other that a pattern may have: more is one that has itself in it. */
const DEEPEST = 64

const TEXT_COMPARISONS = ['prefix', 'suffix', 'equals-ignore-case']

/**
 * Checks patterns, and copies them.
 *
 * @throws {TypeError | RangeError} One that AWS would refuse, or that could match nothing. The message names the place.
 */
export function checkFilterPatterns(action: string, name: string, patterns: unknown): readonly FilterPattern[] {
  if (!Array.isArray(patterns) || patterns.length === 0 || patterns.length > MAX_FILTER_PATTERNS)
    throw wrongUseError(
      action,
      `${name} must be an array of 1 to ${MAX_FILTER_PATTERNS} patterns, as in [{ type: ["OrderPaid"] }]`,
    )
  // not forEach, which passes over holes
  for (const [n, pattern] of patterns.entries()) checkEvent(action, `${name}[${n}]`, pattern, 0)
  return Object.freeze(JSON.parse(JSON.stringify(patterns)) as FilterPattern[])
}

function checkEvent(action: string, at: string, pattern: unknown, depth: number): void {
  for (const [name, rules] of Object.entries(pattern ?? {}))
    if (name === 'attributes' && Array.isArray(rules))
      throw wrongUseError(action, `${at}.attributes must be an object, as in { source: ["web"] }, got ${shown(rules)}`)
    else if (name !== 'payload' && name !== 'attributes' && MEMBERS.includes(name as never) && !Array.isArray(rules))
      throw wrongUseError(
        action,
        `${at}.${name} must be an array of values and comparisons, as in ["OrderPaid"], got ${shown(rules)}`,
      )
  checkMembers(action, at, pattern, depth, checkEvent)
  const unknown = Object.keys(pattern as object).find((name) => name !== '$or' && !MEMBERS.includes(name as never))
  if (unknown === undefined) return
  throw wrongUseError(
    action,
    `${at} must name members of an event, ${MEMBERS.join(', ')}, got ${quotedValue(unknown)}; what its payload has is asked for as ` +
      `{ payload: { ${/^\w+$/.test(unknown) ? unknown : '…'}: […] } }`,
  )
}

type Check = (action: string, at: string, given: unknown, depth: number) => void

/** @param alternative Checks what `$or` has. */
function checkMembers(
  action: string,
  at: string,
  members: unknown,
  depth: number,
  alternative: Check = checkMembers,
): void {
  if (depth > DEEPEST) throw wrongUseError(action, `${at} must not be deeper than ${DEEPEST} objects`, RangeError)
  if (typeof members !== 'object' || members === null || Array.isArray(members) || Object.keys(members).length === 0)
    throw wrongUseError(
      action,
      `${at} must be an object with members, as in { type: ["OrderPaid"] }, got ${shown(members)}`,
    )
  for (const [name, rules] of Object.entries(members)) {
    const path = `${at}.${name}`
    if (name === '$or') {
      if (!Array.isArray(rules) || rules.length < 2)
        throw wrongUseError(action, `${path} must be an array of two or more patterns, got ${shown(rules)}`)
      for (const [n, one] of rules.entries()) alternative(action, `${path}[${n}]`, one, depth + 1)
    } else if (Array.isArray(rules)) checkRules(action, path, rules)
    else if (typeof rules === 'object' && rules !== null) checkMembers(action, path, rules, depth + 1)
    else
      throw wrongUseError(
        action,
        `${path} must be an array of values and comparisons, as in ["OrderPaid"], or an object, got ${shown(rules)}`,
      )
  }
}

function checkRules(action: string, at: string, rules: readonly unknown[]): void {
  if (rules.length === 0) throw wrongUseError(action, `${at} must have a value or a comparison, got an empty array`)
  for (const [n, rule] of rules.entries()) {
    if (typeof rule === 'object' && rule !== null) checkComparison(action, `${at}[${n}]`, rule)
    else checkValue(action, `${at}[${n}]`, rule)
  }
}

function checkValue(action: string, at: string, value: unknown): void {
  if (!isLeaf(value) || (typeof value === 'number' && !Number.isFinite(value)))
    throw wrongUseError(action, `${at} must be a text, a number, true, false or null, got ${shown(value)}`)
}

function checkComparison(action: string, at: string, rule: object): void {
  const [[name, operand] = [''], ...more] = Object.entries(rule)
  const path = `${at}.${name}`
  if (Array.isArray(rule) || more.length > 0)
    throw wrongUseError(
      action,
      `${at} must be a value or one comparison, as in { prefix: "Order" }, got ${shown(rule)}`,
    )
  if (TEXT_COMPARISONS.includes(name)) assertText(action, path, operand)
  else if (name === 'exists') assertBoolean(action, path, operand)
  else if (name === 'numeric') checkNumeric(action, path, operand)
  else if (name === 'anything-but') checkAnythingBut(action, path, operand)
  else
    throw wrongUseError(
      action,
      `${at} must be a comparison by ${[...TEXT_COMPARISONS, 'exists', 'numeric', 'anything-but'].join(', ')}, got ${quotedValue(name)}`,
    )
}

function checkNumeric(action: string, at: string, operand: unknown): void {
  const [lower, from, upper, to] = Array.isArray(operand) ? (operand as unknown[]) : []
  const { length } = Array.isArray(operand) ? operand : []
  const isOne = length === 2 && Object.hasOwn(NUMERIC, String(lower))
  const isRange = length === 4 && /^>=?$/.test(String(lower)) && /^<=?$/.test(String(upper)) && Number.isFinite(to)
  if (!(isOne || isRange) || !Number.isFinite(from))
    throw wrongUseError(
      action,
      `${at} must be an operator (=, <, <=, >, >=) and a number, or a lower and an upper bound, as in [">", 0, "<=", 5]`,
    )
  if (isRange && (from as number) >= (to as number))
    throw wrongUseError(action, `${at} must have a lower bound below the upper one, got ${from} and ${to}`, RangeError)
}

function checkAnythingBut(action: string, at: string, operand: unknown): void {
  if (typeof operand === 'object' && operand !== null && !Array.isArray(operand)) {
    const [[name, texts] = [''], ...more] = Object.entries(operand)
    if (!TEXT_COMPARISONS.includes(name) || more.length > 0)
      throw wrongUseError(action, `${at} must be a value, an array of values, or one of ${TEXT_COMPARISONS.join(', ')}`)
    checkList(action, `${at}.${name}`, texts, assertText)
  } else checkList(action, at, operand, checkValue)
}

function checkList(action: string, at: string, given: unknown, check: typeof assertText): void {
  if (!Array.isArray(given)) check(action, at, given)
  else if (given.length === 0) throw wrongUseError(action, `${at} must have a value, got an empty array`)
  else for (const [n, value] of given.entries()) check(action, `${at}[${n}]`, value)
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array'
  if (typeof value !== 'object' || value === null) return String(value === null ? null : typeof value)
  const names = Object.keys(value)
  return names.length === 0 ? 'an empty object' : `an object with ${names.slice(0, 5).map(quotedValue).join(', ')}`
}
