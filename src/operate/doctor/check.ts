import type { ConsumerKeys } from '../../core/keys.ts'
import type { Consumer } from '../../define/consumer.ts'
import { quoted } from '../../errors.ts'
import type { SignIn } from '../../group/redis/transport.ts'
import type { Answers, Refusal, Told } from '../ask.ts'
import type { AsideFacts } from './aside-facts.ts'
import type { AheadFacts, GroupFacts, RightsFacts, ServerFacts, StreamFacts } from './facts.ts'
import type { Finding, Verdict } from './finding.ts'
import { error, unknown } from './finding.ts'

/** Everything that a check may need to know. */
export interface Facts extends ServerFacts, StreamFacts, GroupFacts, AheadFacts, RightsFacts, AsideFacts {}

/** What a check is made for: once per server, per stream, or per group. */
export type Scope = 'server' | 'stream' | 'group'

/** What a check inspects, beside what the server answered. */
export interface Subject {
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
}

/** One row of the table of checks. */
export interface Check {
  readonly check: string
  readonly scope: Scope
  readonly needs: readonly (keyof Facts)[]
  /** Whether there is anything to inspect. Default: always. */
  readonly isFor?: ((subject: Subject) => boolean) | undefined
  look(facts: Facts, subject: Subject): readonly Verdict[]
}

/** A check that is handed what it needs and nothing else, once all of it is known. */
export function check<Need extends keyof Facts = never>(row: {
  readonly check: string
  readonly scope: Scope
  readonly needs: readonly Need[]
  readonly isFor?: (subject: Subject) => boolean
  look(facts: Pick<Facts, Need>, subject: Subject): readonly Verdict[]
}): Check {
  return row
}

/** Makes a check; what it does not know makes it a finding of its own. */
export function make(row: Check, told: Partial<Answers<Facts>>, subject: Subject): Finding[] {
  const { check, scope, needs, isFor } = row
  if (isFor?.(subject) === false) return []
  const refused = needs.map((name) => told[name]).filter(isRefusal)
  const facts = Object.fromEntries(needs.map((name) => [name, toldValue(told[name])])) as unknown as Facts
  const verdicts = refused[0] ? [untold(refused[0], subject)] : row.look(facts, subject)
  const { stream, group } = subject
  const where = scope === 'server' ? {} : scope === 'stream' ? { stream } : { stream, group }
  return verdicts.map((verdict) => ({ check, ...where, ...verdict }))
}

function isRefusal(told: Told<unknown> | undefined): told is Refusal {
  return told !== undefined && 'refusal' in told
}

function toldValue(told: Told<unknown> | undefined): unknown {
  return told && 'value' in told ? told.value : undefined
}

function untold({ refusal: { message: refusal }, right }: Refusal, { stream }: Subject): Verdict {
  const message = `Not told: ${refusal}`
  if (/\bMOVED\b/.test(refusal))
    return error(
      message,
      'the server is a cluster: ?cluster in the URL, or connectIoredis(() => new Cluster([…])), finds its nodes',
    )
  if (!/\bNOPERM\b/.test(refusal))
    return unknown(message, `ask somewhere that answers ${right.replaceAll('+', '').toUpperCase().replace('|', ' ')}`)
  const rights = /\bkeys?\b/i.test(refusal) ? `rights on the keys of ${quoted(stream)}, ~ in its ACL` : right
  return unknown(message, `look with a user that has ${rights}`)
}
