import { hash } from 'node:crypto'
import type { ConsumerKeys } from '../core/keys.ts'
import { wrongUseError } from '../core/options.ts'
import type { JoinedCommand, Outcome } from '../core/outcome.ts'
import type { BatchEvent } from '../define/batch-handler.ts'
import type { BatchInHand } from '../define/batch-in-hand.ts'
import type { HandlerContext } from '../define/handler.ts'
import { RedisReplyError } from '../errors.ts'
import { countJoinArguments, MAX_JOIN_ARGUMENTS } from '../group/redis/join-calls.ts'
import { effectScriptCalls } from '../group/redis/settling-effects.ts'
import type { Upload } from '../publish/encode-events.ts'
import type { CallEffects, JobWithEffects } from '../run/call-effects.ts'
import type { Job } from '../run/job.ts'
import { bytesOf } from './arguments.ts'
import { EffectList } from './effect-list.ts'

/** What all effects that are settled together may come to: a service refuses requests of 4,000 arguments, and policies have some as well. */
const MOST = { arguments: 3_000, bytes: 1_048_576 }

type AckWith = Extract<Outcome, { readonly kind: 'ack-with' }>

/** What one call of a handler wants to happen with the acknowledgements of its entries: a list for the call, and, of a batch, one for each event. */
export class EffectsOfCall implements CallEffects {
  readonly keys: ConsumerKeys
  readonly #isBatch: boolean
  /** What event ids are made of, by the entry's id; under `''` the call's. */
  readonly #idempotencyKeys: ReadonlyMap<string, string>
  readonly #lists = new Map<string, EffectList>()
  readonly #storing: Promise<void>[] = []
  #hasEnded = false

  private constructor(keys: ConsumerKeys, isBatch: boolean, idempotencyKeys: ReadonlyMap<string, string>) {
    this.keys = keys
    this.#isBatch = isBatch
    this.#idempotencyKeys = idempotencyKeys
  }

  static ofEntry(keys: ConsumerKeys, { idempotencyKey }: Pick<HandlerContext, 'idempotencyKey'>): EffectsOfCall {
    return new EffectsOfCall(keys, false, new Map([['', idempotencyKey]]))
  }

  static ofBatch({ keys, events }: Pick<BatchInHand, 'keys' | 'events'>): EffectsOfCall {
    const all = events.map(({ entryId, idempotencyKey }) => [entryId, idempotencyKey] as const)
    // a batch that comes together otherwise is another
    const ofAll = hash('sha256', JSON.stringify(all.map(([, key]) => key)))
    return new EffectsOfCall(keys, true, new Map([...all, ['', `batch:${ofAll}`]]))
  }

  /** @throws {TypeError} No event of the batch. */
  list(event: BatchEvent | undefined): EffectList {
    const id = event === undefined ? '' : this.#entryIdOf(event)
    const known = this.#lists.get(id)
    if (known) return known
    const list = new EffectList(this, this.#idempotencyKeys.get(id) ?? '')
    this.#lists.set(id, list)
    return list
  }

  #entryIdOf(event: BatchEvent): string {
    const id: unknown = event?.entryId
    if (!this.#isBatch)
      throw wrongUseError(
        'collect effects',
        'event must be left out: the handler has one (in tests createBatchContext makes the context of a batch)',
      )
    if (typeof id !== 'string' || id === '' || !this.#idempotencyKeys.has(id))
      throw wrongUseError('collect effects', 'event must be one of the batch that the handler was called with')
    return id
  }

  /** Keeps payloads that do not stand in their entries, while the handler goes on. */
  store(uploads: readonly Upload[]): void {
    for (const upload of uploads) {
      const storing = upload()
      storing.catch(() => {}) // heard of where it is waited for
      this.#storing.push(storing)
    }
  }

  stored(): Promise<unknown> | undefined {
    return this.#storing.length > 0 ? Promise.all(this.#storing) : undefined
  }

  end(): void {
    this.#hasEnded = true
  }

  /** @throws {TypeError} Its handler has ended. */
  assertOpen(action: string): void {
    if (this.#hasEnded) throw wrongUseError(action, 'the handler has ended')
  }

  /** @throws {RangeError} With that command it would be more than one request takes. */
  assertRoom(action: string, list: EffectList, command: JoinedCommand): void {
    const all = this.#hasOwn || (this.#isBatch && this.#lists.get('') === list)
    const lists = all ? [...this.#lists.values()] : [list]
    const entries = all && this.#isBatch ? this.#idempotencyKeys.size - 1 : 1
    const args = lists.reduce((sum, each) => sum + each.arguments, 0) + command.length + 3
    const bytes = lists.reduce((sum, each) => sum + each.bytes, 0) + bytesOf(command)
    const whose = all && this.#isBatch ? `a batch of ${entries} events` : 'an entry'
    if (args + 7 * entries > MOST.arguments) {
      const most = Math.max(0, MOST.arguments - 7 * entries)
      throw wrongUseError(
        action,
        `all effects of ${whose} must have at most ${most} arguments, got ${args}`,
        RangeError,
      )
    }
    if (bytes > MOST.bytes)
      throw wrongUseError(
        action,
        `all effects of ${whose} must have at most ${MOST.bytes} bytes, got ${bytes}`,
        RangeError,
      )
  }

  get #hasOwn(): boolean {
    return (this.#lists.get('')?.commands.length ?? 0) > 0
  }

  join(jobs: readonly JobWithEffects[], fail: (job: JobWithEffects, error: Error) => void): void {
    const done = jobs.filter(({ outcome }) => outcome?.kind === 'ack' || outcome?.kind === 'ack-with')
    const together = this.#isBatch && this.#hasOwn ? {} : undefined
    const isWhole = !together || done.length === jobs.length
    if (!isWhole)
      for (const job of done) fail(job, new Error('Cannot carry out effects of a batch: another of its events failed'))
    const units = !isWhole ? [] : together ? [done] : done.map((job) => [job])
    for (const unit of units) this.#joinUnit(unit, together, fail)
  }

  #joinUnit(
    unit: readonly JobWithEffects[],
    together: object | undefined,
    fail: (job: JobWithEffects, error: Error) => void,
  ): void {
    const each = unit.map((job, n) => [job, this.#commandsOf(job, n === 0)] as const)
    if (!together && each.every(([, commands]) => commands.length === 0)) return
    const args = each.reduce((sum, [job, own]) => sum + countJoinArguments([...joinedOf(job), ...own]), 2)
    for (const [job, commands] of each) {
      if (args > MAX_JOIN_ARGUMENTS) {
        fail(
          job,
          wrongUseError(
            'carry out effects',
            `with what policies join they must have at most ${MAX_JOIN_ARGUMENTS} arguments, got ${args}`,
            RangeError,
          ),
        )
        continue
      }
      const refused = (refusal: string) => {
        const error = new RedisReplyError(`Cannot carry out effects: ${refusal}`)
        fail(job, error)
        notifyOfRefusal(job as Job, error)
      }
      job.effects = { commands, together, joinCalls: effectScriptCalls, refused }
      job.outcome = { kind: 'ack-with', commands: joinedOf(job), marker: (job.outcome as Partial<AckWith>).marker }
    }
  }

  #commandsOf({ id }: JobWithEffects, isFirst: boolean): readonly JoinedCommand[] {
    const own = isFirst || !this.#isBatch ? (this.#lists.get('')?.commands ?? []) : []
    return [...own, ...(this.#lists.get(id)?.commands ?? [])]
  }
}

function joinedOf({ outcome }: JobWithEffects): readonly JoinedCommand[] {
  return outcome?.kind === 'ack-with' ? outcome.commands : []
}

/** Observers heard of a success when the handler ended. */
function notifyOfRefusal({ id: entryId, deliveryCount, eventType = '', run }: Job, error: Error): void {
  const { observers, invocation, consumer } = run.parts
  const { stream, group } = consumer
  observers?.tell('effectsRefused', { invocation, stream, group, entryId, eventType, deliveryCount, error })
}
