import type { Field } from '../core/entry.ts'
import { assertAwaitableFunction } from '../core/handler-function.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import type { Marker } from '../core/markers.ts'
import { wrongUseError } from '../core/options.ts'
import type { DeadLetterReason, JoinedCommand, ScriptQuestion } from '../core/outcome.ts'
import type { PlainReply } from '../core/plain-reply.ts'
import { quotedValue } from '../errors.ts'
import type { ConsumerSettings, RouteSettings } from './consumer-settings.ts'
import type { Event } from './event.ts'

/**
 * What `use` takes: a wrap around the handler, or what `definePolicy` makes of a name and hooks. A consumer's policies stand outside those of its routes,
 * and within one list the first is the outermost. Of several that would refuse an entry at one hook the first decides: by `kind`, then as they stand.
 */
export type Policy = Wrap | DefinedPolicy

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
export const POLICY_KINDS = [
  'maxAge',
  'when',
  'pause',
  'version',
  'breaker',
  'order',
  'idempotent',
  'concurrency',
  'rate',
] as const

/** What a policy is about. */
export type PolicyKind = (typeof POLICY_KINDS)[number]

/** A policy that does more than wrap, or says more of itself, as `definePolicy` takes it. */
export interface PolicyDefinition {
  /** Of its kind: in messages, and in `excludes` of others. */
  readonly name: string
  /** Decides before which others it is asked; wraps stay as they stand. Default: asked last. */
  readonly kind?: PolicyKind
  /** Names of policies that it cannot be combined with, on one consumer and its routes. */
  readonly excludes?: readonly string[]
  readonly wrap?: Wrap
  /** Pollers that may run at once, at most. A consumer or a deployment that asks for more is refused. On a consumer only. */
  readonly maxPollers?: number
  /** What the server checks in the very step that starts a claimed entry. Asked once, when the consumer is defined, and once per run. On a consumer only. */
  readonly guard?: (keys: ConsumerKeys) => StartGuard
  /**
   * Throws where the consumer's settings, with those that a route of it has otherwise, do not go with it. Called when the consumer is defined, once for all routes
   * that have the same.
   */
  readonly assertFits?: (settings: ConsumerSettings, place: PolicyPlace) => void
  /** Keys beside the group's own, and the commands that it sends to them: for ACLs, the doctor and memory. That of `guard` is named by itself. */
  readonly needs?: (keys: ConsumerKeys) => PolicyKeyRights
  /** Called once per run, after its slot was taken and before its first read. Answers what it does in that run; nothing, if only the above. */
  readonly begin?: (run: PolicyRun) => RunPolicy | undefined
}

/** Where a policy is used. */
export interface PolicyPlace {
  /** The type of the route; `undefined`: the consumer, and so all of its routes. */
  readonly eventType: string | undefined
  /** Event types with a batch route that it holds for. */
  readonly batchTypes: readonly string[]
  /** The settings of all routes that it holds for, each once: for a number that must do for all of them. */
  readonly all: readonly ConsumerSettings[]
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
export interface PolicyKeyRights {
  readonly keys: readonly {
    readonly key: string
    readonly commands: readonly string[]
    /** Milliseconds for which each event leaves a key of that name: `plan` and the doctor count their memory. Default: none is left. */
    readonly perEventMs?: number
  }[]
}

/** Under which a run shows policies of this package what others do not need. */
export const RUN_INSIDE: unique symbol = Symbol('millrace.run')

/** What a policy knows of a run, and may ask of it. */
export interface PolicyRun {
  readonly action: 'poll' | 'claim'
  readonly stream: string
  readonly group: string
  readonly keys: ConsumerKeys
  readonly consumerName: string
  /** The type of the route that it is used on; `undefined` for one of the consumer. */
  readonly eventType: string | undefined
  readonly settings: ConsumerSettings
  /** Counts a delivery that is called though no key guards it against duplicates: `unguarded` of the report. */
  countUnguarded(): void
  /** Milliseconds since 1970, on the run's clock. */
  now(): number
  /** Milliseconds left to start something. */
  remainingMs(): number
  /** Has the run look again at what `holds` held back, and whether a read may be due. */
  resume(): void
  /** What policies of this package see of it beside. */
  readonly [RUN_INSIDE]?: object
}

/**
 * A command on a key in the stream's hash slot, its first argument; the others are strings or numbers. None that blocks or is for a connection alone, and on
 * the consumer's own keys none but XADD, XLEN, XRANGE and XREVRANGE of the stream. In memory there are those on strings, sets, hashes and sorted sets
 * that policies need.
 */
export type PolicyCommand = JoinedCommand

/** What `questions` may ask: commands; a script only of this package's own policies. */
export type PolicyQuestion = PolicyCommand | ScriptQuestion

/** A marker of a policy: a key in the stream's hash slot, and how long it stands. */
export type PolicyMarker = Marker

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
  /** Acknowledged without a call, and counted, if the marker says that another entry of its event was handled; else set aside, and back in a second. */
  | { readonly action: 'duplicate'; readonly marker: PolicyMarker }
  /** Set aside, and back after so many milliseconds, 0 to 100 years. */
  | { readonly action: 'park'; readonly delayMs: number }
  /** Set aside, and back once this policy's `isOver` says so of that text, of 1 to 100 characters: a claimer asks each text that something waits for, never each entry. */
  | { readonly action: 'park'; readonly until: string }
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
  questions?(jobs: readonly PolicyJob[]): readonly PolicyQuestion[]
  /** What becomes of what was read, in order; `undefined`: it is called, as far as this policy goes. */
  admit?(jobs: readonly PolicyJob[], replies: readonly PolicyReply[]): readonly (Decision | undefined)[]
  /** Whether a job has to wait in the run's queue, though there is room. Asked again whenever a call ends, and at `resume()`. */
  holds?(job: PolicyJob): boolean
  /** It leaves the queue for its call; its event is there. */
  started?(job: PolicyJob): void
  /** Its call has ended, it was taken out of the queue, or another policy decided about it in `admit`. Answers what becomes of others that `holds` holds back. */
  ended?(job: PolicyJob, isDone: boolean): ReadonlyMap<string, Decision> | undefined
  /**
   * Commands that take place in one step with the acknowledgement of a job whose handler succeeded: all or none, and only if the entry is still ours.
   * SET (NX or XX, EX or PX), DEL, PEXPIRE, SADD, SREM, HSET, HDEL, ZADD, ZREM, and XADD (MAXLEN) with the id `*`; no more than some 3,500 arguments. What
   * the server would refuse of them without reading its keys is a failure of the job before anything is sent.
   */
  joins?(job: PolicyJob): readonly PolicyCommand[]
  /**
   * The marker that is written in one step with the acknowledgement of a job whose handler succeeded, and names its entry. Where it names another one already, the
   * entry is acknowledged as a duplicate, and nothing joins.
   */
  marks?(job: PolicyJob): PolicyMarker | undefined
  /** Whether what this policy parked until that comes back now. Asked by claimers, for each such text that there is. */
  isOver?(until: string): boolean
  /** When something is due that this run should wait for, in milliseconds since 1970; asked again after 50 ms at the earliest. On a consumer only. */
  dueAt?(): number | undefined
  /** Sent once the run has settled everything, before its slot is given back. What is refused of it is an error of the run. */
  end?(): readonly PolicyCommand[]
}

/**
 * Under which a policy carries what puts it to work, so that a consumer without policies is deployed without. The number rises with each change of what
 * is carried: a policy that another version of the package defined is refused, never understood by halves.
 */
export const POLICY_MACHINERY: unique symbol = Symbol.for('millrace.policies.1') as never

/** A policy that `definePolicy` made. */
export interface DefinedPolicy extends PolicyDefinition {
  readonly [POLICY_MACHINERY]: PolicyMachinery
}

/** What a policy carries, as far as defining a consumer needs it; what a run needs of it says `PolicyEngine`. */
export interface PolicyMachinery {
  /**
   * Checks all policies of a consumer and its routes, wraps among them.
   *
   * @throws {TypeError} Two that cannot be combined, what holds for a whole consumer on a route, or a bad guard.
   */
  together(action: string, bound: readonly PolicyOnRoute[], facts: ConsumerFactsForPolicies): CombinedPolicies
  /**
   * Pollers that may run at once, as far as policies allow.
   *
   * @param asked What somebody asks for; `undefined`: nobody does.
   * @throws {RangeError} That is more.
   */
  limitPollers(action: string, maxPollers: number, asked: number | undefined, bound: readonly PolicyOnRoute[]): number
}

/** What is known of a consumer once its policies are checked. */
export interface ConsumerFactsForPolicies {
  readonly keys: ConsumerKeys
  /** The codec's. */
  readonly typeField: string | undefined
  readonly settings: ConsumerSettings
  readonly routes: ReadonlyMap<string, { readonly settings: RouteSettings; readonly batching?: unknown }>
}

/** What a consumer's policies come to. */
export interface CombinedPolicies {
  /** Those that do more than wrap, in the order in which they are asked. */
  readonly policies: readonly PolicyOnRoute[]
}

/** A policy of a list; a wrap has its name there, and no machinery. */
export interface UsedPolicy extends PolicyDefinition {
  readonly [POLICY_MACHINERY]?: PolicyMachinery
}

/** A policy, and the event type of the route that it is used on. */
export interface PolicyOnRoute {
  readonly policy: UsedPolicy
  readonly eventType: string | undefined
}

const NONE: CombinedPolicies = { policies: [] }

/**
 * Checks a list of policies.
 *
 * @throws {TypeError} No list, no policy, or the same one twice.
 */
export function checkPolicies(action: string, use: unknown): readonly UsedPolicy[] {
  if (use === undefined) return []
  if (!Array.isArray(use)) throw wrongUseError(action, 'use must be an array of policies')
  const seen = new Set<unknown>()
  return Array.from(use, (given: unknown, n) => {
    const policy = usedPolicy(action, given, `use[${n}]`)
    // one limit a key, and another for all of them
    const identity = policy[POLICY_MACHINERY] && policy.kind !== 'rate' ? policy.name : given
    if (seen.has(identity))
      throw wrongUseError(action, `use must have each policy once, got ${quotedValue(policy.name)} twice`)
    seen.add(identity)
    return policy
  })
}

function usedPolicy(action: string, given: unknown, at: string): UsedPolicy {
  if (typeof given === 'function') {
    assertAwaitableFunction(action, at, given, 'next')
    return { name: given.name || 'wrap', wrap: given as Wrap }
  }
  if (typeof given === 'object' && given !== null && Object.hasOwn(given, POLICY_MACHINERY))
    return given as DefinedPolicy
  const { name } = (given ?? {}) as Partial<PolicyDefinition>
  const what = typeof name === 'string' ? `${at}, ${quotedValue(name)},` : at
  throw wrongUseError(action, `${what} must be a policy: a function around the handler, or from definePolicy({ … })`)
}

/**
 * Checks policies that are used together.
 *
 * @throws {TypeError} The same one on the consumer and a route; or what the policies' machinery says.
 */
export function combinePolicies(
  action: string,
  bound: readonly PolicyOnRoute[],
  facts: ConsumerFactsForPolicies,
): CombinedPolicies {
  const ofConsumer = bound.flatMap(({ policy, eventType }) => (eventType === undefined ? [identityOf(policy)] : []))
  for (const { policy, eventType } of bound)
    if (eventType !== undefined && ofConsumer.includes(identityOf(policy)))
      throw wrongUseError(
        action,
        `${quotedValue(policy.name)} must be used on the consumer or on ${quotedValue(eventType)}, not on both`,
      )
  return machineryOf(bound)?.together(action, bound, facts) ?? NONE
}

function machineryOf(bound: readonly PolicyOnRoute[]): PolicyMachinery | undefined {
  return bound.find(({ policy }) => policy[POLICY_MACHINERY])?.policy[POLICY_MACHINERY]
}

/** A wrap's is its function. */
function identityOf(policy: UsedPolicy): unknown {
  return policy[POLICY_MACHINERY] ? policy : policy.wrap
}

/** As `limitPollers` of a policy's machinery. */
export function limitMaxPollers(
  action: string,
  maxPollers: number,
  asked: number | undefined,
  bound: readonly PolicyOnRoute[],
): number {
  return machineryOf(bound)?.limitPollers(action, maxPollers, asked, bound) ?? maxPollers
}
