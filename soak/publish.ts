import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Publisher } from 'millrace'
import { PublishFailedError } from 'millrace'
import type { Random } from '../demo/random.ts'
import type { Order } from './kinds.ts'
import { definitionOf, KINDS, POISONS } from './kinds.ts'
import { BURST, POISON_EVERY_MS, RATE } from './settings.ts'
import { now } from './time.ts'

/** An event that was published, as its publisher knows it. */
export interface Published {
  readonly eventId: string
  readonly kind: string
  readonly entryId: string
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
}

interface Draft extends Order {
  readonly eventId: string
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
    await publishEvents(drafts.filter(isEvent), stage)
    for (const { eventId, kind } of drafts.filter((one) => !isEvent(one))) {
      const entryId = await insist(interrupt, () => append(['eventId', eventId, 'kind', kind]))
      onPublished({ eventId, kind, entryId })
    }
  }
}

const isEvent = ({ kind }: Draft): boolean => KINDS[kind]?.act !== undefined

async function publishEvents(
  drafts: readonly Draft[],
  { publisher, interrupt, onPublished }: PublishStage,
): Promise<void> {
  let left = drafts
  await insist(interrupt, async () => {
    const batch = left
    try {
      const answers = await publisher.publishMany(
        batch.map(({ eventId, ...order }) => [definitionOf(order), order, { eventId }] as const),
      )
      note(answers.map(({ entryId }) => entryId))
    } catch (error) {
      if (error instanceof PublishFailedError) note(error.entryIds)
      throw error
    }
    function note(entryIds: readonly (string | undefined)[]): void {
      left = batch.filter((_, n) => entryIds[n] === undefined)
      for (const [n, { eventId, kind }] of batch.entries()) {
        const entryId = entryIds[n]
        if (entryId !== undefined) onPublished({ eventId, kind, entryId })
      }
    }
  })
}

function draft(kind: string, random: Random): Draft {
  const [min, max] = KINDS[kind]?.handlerMs ?? [0, 0]
  return {
    eventId: randomUUID(),
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
