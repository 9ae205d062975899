import type { ConsumerKeys } from '../../core/keys.ts'
import { ignoreRejection } from '../../core/thenable.ts'
import type { Event } from '../../define/event.ts'
import type { Decision, PolicyJob, PolicyKeyRights } from '../../define/policy.ts'
import { quotedValue } from '../../errors.ts'
import { spelled } from '../spelled.ts'

/** What a limit needs: its own keys, and, since whoever reads takes what waits for its turn as well, what is set aside. */
export function limitNeeds(keys: ConsumerKeys, own: string): PolicyKeyRights {
  const besideGroup = keys.due.slice(0, -'due'.length)
  // the script that is asked names it, whatever the policies: of a set it lies elsewhere
  const breakers = keys.breakers.startsWith(besideGroup) ? [] : [{ key: keys.breakers, commands: ['hgetall'] }]
  return {
    keys: [
      { key: own, commands: ['hgetall', 'hset', 'hdel', 'pexpire'] },
      { key: keys.due, commands: ['zrangebyscore'] },
      { key: keys.waiting, commands: ['zrangebylex'] },
      ...breakers,
    ],
  }
}

/** What names the limit that an event is under; `undefined`: none. */
export type LimitedBy = (event: Event) => string | undefined

/** Bytes of a name. */
const MAX_NAME_BYTES = 1_024

type LimitName = { readonly name: string } | { readonly problem: Error } | undefined

/** Names the limits of one policy's jobs; `by` is asked once for each. */
export class LimitNames {
  readonly #policy: string
  readonly #scope: string
  readonly #by: LimitedBy | undefined
  readonly #known = new WeakMap<PolicyJob, LimitName>()

  /** @param scope What all of its names begin with. */
  constructor(policy: string, scope: string, by: LimitedBy | undefined) {
    this.#policy = policy
    this.#scope = scope
    this.#by = by
  }

  /** @returns `undefined`: no limit holds for it, or none can be named. */
  nameOf(job: PolicyJob): string | undefined {
    const name = this.#of(job)
    return name && 'name' in name ? name.name : undefined
  }

  /** The dead letter of what has no name, since `by` threw or answered none. */
  readonly admit = (jobs: readonly PolicyJob[]): readonly (Decision | undefined)[] =>
    jobs.map((job) => {
      const name = this.#of(job)
      return name && 'problem' in name ? { action: 'deadLetter', reason: 'malformed', error: name.problem } : undefined
    })

  #of(job: PolicyJob): LimitName {
    if (!this.#known.has(job)) this.#known.set(job, this.#find(job))
    return this.#known.get(job)
  }

  #find({ event }: PolicyJob): LimitName {
    if (!event) return undefined
    if (!this.#by) return { name: this.#scope }
    try {
      const name: unknown = this.#by(event)
      if (name === undefined) return undefined
      ignoreRejection(name)
      if (typeof name !== 'string' || name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES)
        throw new TypeError(
          `Cannot limit ${quotedValue(event.type)}: by of ${this.#policy} must answer text of 1 to ${MAX_NAME_BYTES} bytes, or undefined`,
        )
      return { name: `${this.#scope}:${spelled(name)}` }
    } catch (problem) {
      return { problem: problem as Error }
    }
  }
}
