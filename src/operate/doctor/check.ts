import type { ConsumerKeys } from '../../core/keys.ts'
import type { Consumer } from '../../define/consumer.ts'
import { quotedValue } from '../../errors.ts'
import type { SignIn } from '../../group/redis/transport.ts'
import type { AnswerOrRefusal, AnswersByName, RefusedAnswer } from '../ask.ts'
import type { AsideFacts } from './aside-facts.ts'
import type { GroupFacts, RightsFacts, ServerFacts, StreamFacts, UnreadEntriesFacts } from './facts.ts'
import type { CheckResult, Finding } from './finding.ts'
import { errorResult, unknownResult } from './finding.ts'
import type { FlowFacts } from './flow-facts.ts'
import type { OrderFacts } from './order-facts.ts'
import type { SizeFacts } from './sizes.ts'

/** Everything that a check may need to know. */
export interface DoctorFacts
  extends ServerFacts,
    StreamFacts,
    GroupFacts,
    UnreadEntriesFacts,
    RightsFacts,
    FlowFacts,
    AsideFacts,
    OrderFacts,
    SizeFacts {}

/** What a check is made for: once per server, per stream, or per group. */
export type CheckScope = 'server' | 'stream' | 'group'

/** What a check inspects, beside what the server answered. */
export interface CheckSubject {
  /** Milliseconds since 1970, by the server's clock if it is known. */
  readonly now: number
  /** Milliseconds since 1970, by the clock of whoever asks. */
  readonly localNow: number
  /** The function's timeout, where it is known. */
  readonly functionTimeoutMs: number | undefined
  /** The timeouts of the functions that handlers invoke, by event type. */
  readonly targetTimeoutsMs: Readonly<Record<string, number>>
  /** How the connection logs in, where that is known. */
  readonly signIn: SignIn | undefined
  /** Pollers that are woken at once, where that is known. */
  readonly pollers: number | undefined
  readonly stream: string
  /** The groups of the given consumers on the stream; none: it is not known whose they are. */
  readonly ours: ReadonlySet<string>
  /** Only of a group. */
  readonly group: string
  readonly keys: ConsumerKeys | undefined
  /** Not known where only a stream was named. */
  readonly consumer: Consumer | undefined
  /** The consumers of the group that were given, itself included. */
  readonly sameGroup: readonly Consumer[]
}

/** One row of the table of checks. */
export interface DoctorCheck {
  readonly check: string
  readonly scope: CheckScope
  readonly needs: readonly (keyof DoctorFacts)[]
  /** Whether there is anything to inspect. Default: always. */
  readonly isFor?: ((subject: CheckSubject) => boolean) | undefined
  look(facts: DoctorFacts, subject: CheckSubject): readonly CheckResult[]
}

/** A check that is handed what it needs and nothing else, once all of it is known. */
export function defineCheck<Need extends keyof DoctorFacts = never>(row: {
  readonly check: string
  readonly scope: CheckScope
  readonly needs: readonly Need[]
  readonly isFor?: (subject: CheckSubject) => boolean
  look(facts: Pick<DoctorFacts, Need>, subject: CheckSubject): readonly CheckResult[]
}): DoctorCheck {
  return row
}

/** Makes a check; what it does not know makes it a finding of its own. */
export function runCheck(
  row: DoctorCheck,
  told: Partial<AnswersByName<DoctorFacts>>,
  subject: CheckSubject,
): Finding[] {
  const { check, scope, needs, isFor } = row
  if (isFor?.(subject) === false) return []
  const refused = needs.map((name) => told[name]).filter(isRefusal)
  const facts = Object.fromEntries(needs.map((name) => [name, toldValue(told[name])])) as unknown as DoctorFacts
  const verdicts = refused[0] ? [untold(refused[0], subject)] : row.look(facts, subject)
  const { stream, group } = subject
  const where = scope === 'server' ? {} : scope === 'stream' ? { stream } : { stream, group }
  return verdicts.map((verdict) => ({ check, ...where, ...verdict }))
}

function isRefusal(told: AnswerOrRefusal<unknown> | undefined): told is RefusedAnswer {
  return told !== undefined && 'refusal' in told
}

function toldValue(told: AnswerOrRefusal<unknown> | undefined): unknown {
  return told && 'value' in told ? told.value : undefined
}

function untold({ refusal: { message: refusal }, right }: RefusedAnswer, { stream }: CheckSubject): CheckResult {
  const message = `Not told: ${refusal}`
  if (/\bMOVED\b/.test(refusal))
    return errorResult(
      message,
      'the server is a cluster: ?cluster in the URL, or connectIoredis(() => new Cluster([…])), finds its nodes',
    )
  if (!/\bNOPERM\b/.test(refusal))
    return unknownResult(
      message,
      `ask somewhere that answers ${right.replaceAll('+', '').toUpperCase().replace('|', ' ')}`,
    )
  const rights = /\bkeys?\b/i.test(refusal) ? `rights on the keys of ${quotedValue(stream)}, ~ in its ACL` : right
  return unknownResult(message, `look with a user that has ${rights}`)
}
