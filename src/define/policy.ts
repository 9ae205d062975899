import type { Field } from '../core/entry.ts'
import { awaitable } from '../core/handler-function.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { hashSlot } from '../core/keys.ts'
import { cannot, oneOf } from '../core/options.ts'
import type { DeadLetterReason, JoinedCommand } from '../core/outcome.ts'
import type { PlainReply } from '../core/plain-reply.ts'
import { quoted } from '../errors.ts'
import type { Event } from './event.ts'

/**
 * What `use` takes: a wrap around the handler, or an object with a name and hooks. A consumer's policies stand outside those of its routes, and within
 * one list the first is the outermost. Of several that would refuse an entry at one hook the first decides: by `kind`, then as they stand.
 */
export type Policy = Wrap | PolicyDefinition

/**
 * A wrap around a handler, made once when the consumer is defined: `(next) => (event, context) => next(event, context)`. A batch route's gets the
 * array of its events, a remote handler's the same. It takes part in `handlerTimeoutMs`, and what it answers or throws is what the handler did:
 * so an entry whose `next` was never called is acknowledged. A `next` that comes a second time, once the wrap has ended, or after the handler's time
 * rejects. A `next` that is not awaited is waited for, and its failure counts.
 */
// biome-ignore lint/suspicious/noExplicitAny: one wrap goes around handlers of any event, and of batches
export type Wrap = (next: (event: any, context: any) => unknown) => (event: any, context: any) => unknown

/**
 * Kinds of policies, in the order in which they are asked: the first refusal decides. What has no kind is asked after these, the consumer's before
 * the routes'.
 */
const KINDS = ['maxAge', 'when', 'pause', 'version', 'breaker', 'order', 'idempotent', 'concurrency', 'rate'] as const

/** What a policy is about. */
export type PolicyKind = (typeof KINDS)[number]

/** A policy that does more than wrap, or says more of itself. */
export interface PolicyDefinition {
  /** Of its kind: in messages, and in `excludes` of others. */
  readonly name: string
  /** Decides before which others it is asked; wraps stay as they stand. Default: asked last. */
  readonly kind?: PolicyKind
  /** Names of policies that it cannot be combined with, on one consumer and its routes. */
  readonly excludes?: readonly string[]
  readonly wrap?: Wrap
  /** Pollers that may run at once, at most. On a consumer only. */
  readonly maxPollers?: number
  /** What the server looks at in the very step that starts a claimed entry. Asked once, when the consumer is defined, and once a run. On a consumer only. */
  readonly guard?: (keys: ConsumerKeys) => StartGuard
  /**
   * Names a sorted set in the stream's hash slot: the id of each entry that this policy parked, and when it comes back, in milliseconds since 1970 on the
   * server's clock. Claimers start what is due from it, earliest first, before they look for what was left behind, and leave the rest of it alone; a
   * change of its scores changes when they do. What starts leaves it. On a consumer only. Without it, what was parked comes back by its age.
   */
  readonly index?: (keys: ConsumerKeys) => string
  /** Keys beside the group's own, and the commands that it sends to them: for ACLs, the doctor and memory. Those of `guard` and `index` are named by themselves. */
  readonly needs?: (keys: ConsumerKeys) => PolicyNeeds
  /** Called once a run, after its slot was taken and before its first read. Answers what it does in that run; nothing, if only the above. */
  readonly begin?: (run: PolicyRun) => RunPolicy | undefined
}

/** Nothing is started while the key is there; or, where it is a set of event types, nothing of these types. */
export interface StartGuard {
  /** In the stream's hash slot. */
  readonly key: string
  readonly holds: 'all' | 'types'
}

/**
 * Keys of a policy, each with the commands that it sends to it, from whatever hook. A `*` at a key's end stands for any text: `{orders}:seen:*`. Nothing
 * is refused at run time for not being named here; but the functions' users have no right to it, where they have what `millrace plan --acl` prints.
 */
export interface PolicyNeeds {
  readonly keys: readonly { readonly key: string; readonly commands: readonly string[] }[]
}

/** What a policy is told of a run, and may ask of it. */
export interface PolicyRun {
  readonly action: 'poll' | 'claim'
  readonly stream: string
  readonly group: string
  readonly keys: ConsumerKeys
  readonly consumerName: string
  /** The type of the route that it is used on; `undefined` for one of the consumer. */
  readonly eventType: string | undefined
  /** Milliseconds since 1970, on the run's clock. */
  now(): number
  /** Milliseconds left to start something. */
  remainingMs(): number
  /** Has the run look again at what `holds` held back, and whether a read may be due. */
  resume(): void
}

/**
 * A command on a key in the stream's hash slot, its first argument; the others are strings or numbers. None that blocks or is for a connection alone, and on
 * the consumer's own keys none but XADD, XLEN, XRANGE and XREVRANGE of the stream. In memory there are those on strings, sets, hashes and sorted sets
 * that policies need.
 */
export type PolicyCommand = JoinedCommand

/** What a command answers, bulk strings as text; an error reply is an `Error`. */
export type PolicyReply = PlainReply

/** An entry in a run's hands, as policies see it. */
export interface PolicyJob {
  readonly entryId: string
  readonly deliveryCount: number
  /** Not to be changed. */
  readonly fields: readonly Field[]
  /** There once it was decoded and checked. */
  readonly event: Event | undefined
}

/** What becomes of an entry instead of a call. No delivery is used up but by a dead letter. */
export type Decision =
  /** Acknowledged without a call. */
  | { readonly action: 'ignore' }
  /** Set aside, and back at the earliest after so many milliseconds, 0 to 100 years. */
  | { readonly action: 'park'; readonly delayMs: number }
  | { readonly action: 'deadLetter'; readonly reason: DeadLetterReason; readonly error: Error }

/**
 * What a policy does in one run; all of it is optional, and answers at once. A hook that throws, or answers what it must not, as a promise, ends the run with an
 * error that names the policy:
 * what it was asked about is released at no delivery. Only what `joins` throws is a failure of its job, whose handler has run.
 */
export interface RunPolicy {
  /** Before each read or page: how many entries it may bring, 0 for none. On a consumer only. */
  limit?(): number
  /** Sent before each read and page, in its write; while `limit` lets nothing be read, by themselves when something was due. On a consumer only. */
  riders?(): readonly PolicyCommand[]
  /** The riders' replies, before anything of the same read is decoded. */
  answered?(replies: readonly PolicyReply[]): void
  /** On the bytes of an entry, before it is decoded. On a consumer only. */
  inspect?(job: PolicyJob): Decision | undefined
  /** What must be asked of the server about what was read: all policies together make one request. */
  questions?(jobs: readonly PolicyJob[]): readonly PolicyCommand[]
  /** What becomes of what was read, in order; `undefined`: it is called, as far as this policy goes. */
  admit?(jobs: readonly PolicyJob[], replies: readonly PolicyReply[]): readonly (Decision | undefined)[]
  /** Whether a job has to wait in the run's queue, though there is room. Looked at again whenever a call ends, and at `resume()`. */
  holds?(job: PolicyJob): boolean
  /** It leaves the queue for its call; its event is there. */
  started?(job: PolicyJob): void
  /** Its call has ended, or it was taken out of the queue. Answers what becomes of others that `holds` holds back. */
  ended?(job: PolicyJob, isDone: boolean): ReadonlyMap<string, Decision> | undefined
  /**
   * Commands that take place in one step with the acknowledgement of a job whose handler succeeded: all or none, and only if the entry is still ours.
   * SET (NX or XX, EX or PX), DEL, PEXPIRE, SADD, SREM, HSET, HDEL, ZADD, ZREM, and XADD (MAXLEN) with the id `*`; no more than some 3,500 arguments. What
   * the server would refuse of them without a look at its keys is a failure of the job before anything is sent.
   */
  joins?(job: PolicyJob): readonly PolicyCommand[]
  /** When something is due that this run should wait for, in milliseconds since 1970; looked at again after 50 ms at the earliest. On a consumer only. */
  dueAt?(): number | undefined
  /** Sent once the run has settled everything, before its slot is given back. What is refused of it is an error of the run. */
  end?(): readonly PolicyCommand[]
}

/** A policy, and the event type of the route that it is used on. */
export interface BoundPolicy {
  readonly policy: PolicyDefinition
  readonly eventType: string | undefined
}

/** What may be in a definition, and what it must be; the others are functions. */
const HOOKS = ['name', 'kind', 'excludes', 'wrap', 'maxPollers', 'guard', 'index', 'needs', 'begin'] as const
const FUNCTIONS = ['wrap', 'guard', 'index', 'needs', 'begin'] as const

/** What may be in what `begin` answers: functions. */
export const RUN_HOOKS = [
  'limit',
  'riders',
  'answered',
  'inspect',
  'questions',
  'admit',
  'holds',
  'started',
  'ended',
  'joins',
  'dueAt',
  'end',
] as const satisfies readonly (keyof RunPolicy)[]

/** The function of a wrap's definition, by which two are the same. */
const wrapsOf = new WeakMap<PolicyDefinition, object>()

/**
 * Checks a list of policies.
 *
 * @throws {TypeError} No list, no policy, the same one twice, or a hook that is none.
 */
export function policies(action: string, use: unknown): readonly PolicyDefinition[] {
  if (use === undefined) return []
  if (!Array.isArray(use)) throw cannot(action, 'use must be an array of policies')
  const seen = new Set<unknown>()
  return Array.from(use, (policy: unknown, n) => {
    const definition = define(action, policy, `use[${n}]`)
    const identity = typeof policy === 'function' ? policy : definition.name
    if (seen.has(identity)) throw cannot(action, `use must have each policy once, got ${quoted(definition.name)} twice`)
    seen.add(identity)
    return definition
  })
}

function define(action: string, policy: unknown, at: string): PolicyDefinition {
  if (typeof policy === 'function') {
    awaitable(action, at, policy, 'next')
    const definition = { name: policy.name || 'wrap', wrap: policy as Wrap }
    wrapsOf.set(definition, policy)
    return definition
  }
  if (typeof policy !== 'object' || policy === null)
    throw cannot(action, `${at} must be a policy: a function around the handler, or an object with a name and hooks`)
  const definition = policy as PolicyDefinition
  const { name } = definition
  if (typeof name !== 'string' || name === '') throw cannot(action, `${at} must be a policy with a name`)
  const unknown = Object.keys(policy).find((hook) => !HOOKS.includes(hook as never))
  if (unknown !== undefined)
    throw cannot(action, `${quoted(name)} has an unknown hook ${quoted(unknown)}; there are ${HOOKS.join(', ')}`)
  for (const hook of FUNCTIONS) {
    const value: unknown = definition[hook]
    if (value !== undefined && !answersAtOnce(value))
      throw cannot(action, `${hook} of ${quoted(name)} must be a function that answers at once`)
  }
  const { maxPollers, excludes, kind } = definition
  if (kind !== undefined) oneOf(action, `kind of ${quoted(name)}`, kind, KINDS)
  if (maxPollers !== undefined && !(Number.isInteger(maxPollers) && maxPollers > 0))
    throw cannot(action, `maxPollers of ${quoted(name)} must be a whole number >= 1`)
  if (excludes !== undefined && !(Array.isArray(excludes) && excludes.every((other) => typeof other === 'string')))
    throw cannot(action, `excludes of ${quoted(name)} must be an array of names`)
  return definition
}

/** Whether it is a function, neither async nor a generator: the engine waits for no hook. */
export function answersAtOnce(value: unknown): boolean {
  return typeof value === 'function' && !/(?:Async|Generator)/.test(Object.prototype.toString.call(value))
}

/** @throws {TypeError} Two that cannot be combined, the same one on the consumer and a route, or what holds for a whole consumer on a route. */
export function checkTogether(action: string, bound: readonly BoundPolicy[]): void {
  for (const { policy, eventType } of bound) {
    const { name, excludes, guard, index, maxPollers } = policy
    if (eventType !== undefined && (maxPollers ?? guard ?? index) !== undefined)
      throw cannot(action, `${quoted(name)} must be used on the consumer, got it on ${quoted(eventType)}`)
    const isSame = (other: BoundPolicy) =>
      other.eventType === undefined && (wrapsOf.get(other.policy) ?? other.policy) === (wrapsOf.get(policy) ?? policy)
    if (eventType !== undefined && bound.some(isSame))
      throw cannot(action, `${quoted(name)} must be used on the consumer or on ${quoted(eventType)}, not on both`)
    const other = bound.find((one) => one.policy !== policy && excludes?.includes(one.policy.name))
    if (other) throw cannot(action, `${quoted(name)} cannot be combined with ${quoted(other.policy.name)}`)
  }
}

/**
 * Checks what policies have the server look at.
 *
 * @throws {TypeError} No key in the stream's hash slot, a kind that there is not, or types where the codec names no field for them.
 */
export function checkGuards(
  action: string,
  bound: readonly BoundPolicy[],
  { keys, typeField }: { readonly keys: ConsumerKeys; readonly typeField: string | undefined },
): void {
  for (const { policy } of bound) {
    const guard: Partial<StartGuard> | undefined = policy.guard?.(keys)
    if (!policy.guard) continue
    const rule = `guard of ${quoted(policy.name)} must answer`
    const { key, holds } = guard ?? {}
    if (typeof key !== 'string' || hashSlot(key) !== hashSlot(keys.stream))
      throw cannot(action, `${rule} a key in the stream's hash slot, got ${quoted(String(key))}`)
    if (holds !== 'all' && holds !== 'types') throw cannot(action, `${rule} what the key holds: 'all' or 'types'`)
    if (holds === 'types' && typeField === undefined)
      throw cannot(action, `${rule} 'all' where the codec has no typeField: the server cannot tell types`)
  }
}

/**
 * The sorted sets by which what policies parked comes back.
 *
 * @throws {TypeError} A key of another hash slot, or one that two have.
 */
export function indexesOf(action: string, bound: readonly BoundPolicy[], keys: ConsumerKeys): readonly string[] {
  const indexes: string[] = []
  for (const { policy } of bound) {
    if (!policy.index) continue
    const key = policy.index(keys)
    const rule = `index of ${quoted(policy.name)} must be a key of its own in the stream's hash slot, got ${quoted(key)}`
    if (typeof key !== 'string' || hashSlot(key) !== hashSlot(keys.stream)) throw cannot(action, rule)
    if ([...indexes, ...Object.values(keys)].includes(key)) throw cannot(action, rule)
    indexes.push(key)
  }
  return indexes
}

/** In the order in which they are asked. */
export function asAsked(bound: readonly BoundPolicy[]): readonly BoundPolicy[] {
  const place = ({ policy: { kind } }: BoundPolicy) => (kind ? KINDS.indexOf(kind) : KINDS.length)
  return bound.toSorted((a, b) => place(a) - place(b))
}

/** Pollers that may run at once, as far as policies allow. */
export function maxPollersWithin(maxPollers: number, bound: readonly BoundPolicy[]): number {
  return Math.min(maxPollers, ...bound.map(({ policy }) => policy.maxPollers ?? Infinity))
}
