import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CancelAnswer, Publisher } from 'millrace'
import { PublishFailedError } from 'millrace'
import type { Random } from '../demo/random.ts'
import type { Order } from './kinds.ts'
import { definitionOf, KINDS, POISONS } from './kinds.ts'
import { BURST, DELAYS, ORDERED, POISON_EVERY_MS, RATE } from './settings.ts'
import { now } from './time.ts'

/** An event that was published, as its publisher knows it. */
export interface Published {
  readonly eventId: string
  readonly kind: string
  readonly entryId: string
}

/** An event that was delayed, as its publisher knows it. */
export interface Delayed {
  readonly eventId: string
  readonly kind: string
  /** By the server's clock, in milliseconds since 1970. */
  readonly deliverAt: number
  /** What became of it, as the publisher that cancelled it was answered; `undefined`: nobody cancels it. */
  cancelled?: CancelAnswer
}

export interface PublishStage {
  readonly publisher: Publisher
  /** Writes what is no event, names and values in turn; answers the entry's id. */
  readonly append: (fields: readonly string[]) => Promise<string>
  readonly random: Random
  /** Whether to wait, since there is enough to do. */
  readonly isHeld: () => boolean
  /** Ends it; what was begun is published for certain. */
  readonly signal: AbortSignal
  /** Ends it at once. */
  readonly interrupt: AbortSignal
  readonly onPublished: (published: Published) => void
  readonly onDelayed: (delayed: Delayed) => void
}

interface Draft extends Order {
  readonly eventId: string
  readonly key: string
  /** `undefined`: it is for now. */
  readonly delayMs: number | undefined
  /** In how many milliseconds it is cancelled; `undefined`: it is not. */
  readonly cancelInMs: number | undefined
}

/** A delayed event that is cancelled then. */
interface Cancellation {
  readonly delayed: Delayed
  readonly at: number
}

const TICK_MS = 100
const RETRY_MS = 150
const GIVE_UP_MS = 30_000
const MAX_FAILURES = 2
const FIRST_POISON_MS = 1_000
const FIRST_BURST_MS = 2_000
const DECK = Object.entries(KINDS).flatMap(([kind, { share }]) => Array.from({ length: share }, () => kind))

/** Publishes until it is stopped. One whose reply was lost is published again under the same event id. */
export async function publishOn(stage: PublishStage): Promise<void> {
  const { append, random, isHeld, signal, interrupt, onPublished } = stage
  const startedAt = now()
  const cancellations: Cancellation[] = []
  let poisons = 0
  let bursts = 0
  for (let tick = 0; !signal.aborted; tick++) {
    await sleep(Math.max(0, startedAt + tick * TICK_MS - now()), undefined, { signal }).catch(() => {})
    if (isHeld() || signal.aborted) continue
    const kinds = Array.from({ length: random.integer(0, (2 * RATE * TICK_MS) / 1_000 + 1) }, () => random.pick(DECK))
    if (now() - startedAt > FIRST_POISON_MS + poisons * POISON_EVERY_MS)
      kinds.push(POISONS[poisons++ % POISONS.length] as string)
    if (now() - startedAt > FIRST_BURST_MS + bursts * BURST.everyMs) {
      kinds.push(...Array.from({ length: BURST.entries }, () => BURST.kind))
      bursts++
    }
    const drafts = kinds.map((kind) => draft(kind, random))
    await publishEvents(drafts.filter(isEvent), stage, cancellations)
    await cancelDue(cancellations, stage)
    for (const { eventId, kind } of drafts.filter((one) => !isEvent(one))) {
      const entryId = await insist(interrupt, () => append(['eventId', eventId, 'kind', kind]))
      onPublished({ eventId, kind, entryId })
    }
  }
}

const isEvent = ({ kind }: Draft): boolean => KINDS[kind]?.act !== undefined

async function publishEvents(
  drafts: readonly Draft[],
  { publisher, interrupt, onPublished, onDelayed }: PublishStage,
  cancellations: Cancellation[],
): Promise<void> {
  let left = drafts
  await insist(interrupt, async () => {
    const batch = left
    try {
      const answers = await publisher.publishMany(
        batch.map(({ eventId, delayMs, cancelInMs: _cancelInMs, key, ...order }) => [
          definitionOf(order),
          order,
          { eventId, delayMs, aggregateId: key },
        ]),
      )
      note(answers.map((answer) => ('entryId' in answer ? answer.entryId : answer.deliverAt)))
    } catch (error) {
      if (error instanceof PublishFailedError) note(error.entryIds.map((id, n) => id ?? error.delayedUntil[n]))
      throw error
    }
    function note(answers: readonly (string | Date | undefined)[]): void {
      left = batch.filter((_, n) => answers[n] === undefined)
      for (const [n, draft] of batch.entries()) {
        const answer = answers[n]
        const { eventId, kind } = draft
        if (typeof answer === 'string') onPublished({ eventId, kind, entryId: answer })
        else if (answer) noteDelayed(draft, answer)
      }
    }
    function noteDelayed({ eventId, kind, cancelInMs }: Draft, deliverAt: Date): void {
      const delayed: Delayed = { eventId, kind, deliverAt: deliverAt.getTime() }
      onDelayed(delayed)
      if (cancelInMs !== undefined) cancellations.push({ delayed, at: now() + cancelInMs })
    }
  })
}

/** Cancels those whose time it is, and asks again while no answer comes. */
async function cancelDue(cancellations: Cancellation[], { publisher, interrupt }: PublishStage): Promise<void> {
  for (const cancellation of cancellations.filter(({ at }) => at <= now())) {
    cancellations.splice(cancellations.indexOf(cancellation), 1)
    const { delayed } = cancellation
    delayed.cancelled = await insist(interrupt, () => publisher.cancel(delayed.eventId))
  }
}

function draft(kind: string, random: Random): Draft {
  const [min, max] = KINDS[kind]?.handlerMs ?? [0, 0]
  const isDelayed = random.integer(0, DELAYS.oneOf) === 0
  const isCancelled = random.integer(0, DELAYS.cancelsOneOf) === 0
  return {
    delayMs: isDelayed ? random.integer(0, DELAYS.ms + 1) : undefined,
    cancelInMs: isCancelled ? random.integer(0, DELAYS.ms + 1) : undefined,
    eventId: randomUUID(),
    key: `k${random.integer(0, ORDERED.keys)}`,
    kind,
    handlerMs: random.integer(min, max + 1),
    failures: random.integer(1, MAX_FAILURES + 1),
  }
}

/** Tries again while the server is away. */
export async function insist<T>(interrupt: AbortSignal, attempt: () => Promise<T>): Promise<T> {
  const giveUpAt = now() + GIVE_UP_MS
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (interrupt.aborted || now() > giveUpAt) throw error
      await sleep(RETRY_MS)
    }
  }
}
