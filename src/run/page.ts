import { ageOf } from '../core/entry.ts'
import { PARKED } from '../core/keys.ts'
import type { Claimed, Claims, Settlement } from '../group/group.ts'
import type { Observed } from '../observe.ts'
import type { Gate } from './gate.ts'
import { roundsLeft } from './rounds.ts'
import type { Run } from './run.ts'
import type { Pace } from './window.ts'
import { Window } from './window.ts'

/** What the pages of a claimer's run have in common. */
interface Lap {
  readonly claims: Claims
  readonly pace: Pace
  /** Shared by all runs of the invocation. */
  readonly gate: Gate
}

/** What became of a claimer's page. */
interface RetriedPage {
  /** What is left to settle. */
  readonly settlements: Settlement[]
  /** The first entry that had no turn. */
  readonly firstLeft: string | undefined
}

/** Retries the entries of a claimer's page as far as there is time, those above suspicion first. */
export async function retryPage(
  run: Run,
  { claims, pace, gate }: Lap,
  claimed: readonly Claimed[],
): Promise<RetriedPage> {
  if (claimed.length === 0) return { settlements: [], firstLeft: undefined }
  const { report, consumer, clock } = run.parts
  const { maxDeliveries, concurrency } = consumer.settings
  report.claimed += claimed.length
  run.parts.observers?.tell('entriesClaimed', claimedOf(run, claimed))
  report.batches++
  const usedUp = claimed.filter(({ deliveryCount }) => deliveryCount >= maxDeliveries)
  const waiting = claimed.filter(({ deliveryCount }) => deliveryCount < maxDeliveries)
  const { trusted, last, grouped, alone } = partsOf(waiting, maxDeliveries)
  const buryAll = usedUp.map((entry) => buried(entry, clock.now()))
  const window = new Window(run, claims, waiting, buryAll)
  await run
    .holding(() => window.held, retry)
    .catch(async (error: unknown) => {
      await run.settle(window.rest()).catch(() => {})
      throw error
    })
  const { left } = window
  return { firstLeft: claimed.find(({ id }) => left.has(id))?.id, settlements: window.rest() }

  // a round is kept for each kind of suspects, or slow failing entries before them could take all the time of every run
  async function retry(): Promise<void> {
    const kinds = [grouped, alone].filter(({ length }) => length > 0).length
    await retryTogether(trusted, 1 + kinds, pace)
    const startedAt = clock.monotonic()
    const slow = await retryAlone(last, 1 + kinds, () => clock.monotonic() - startedAt < pace.aloneMs)
    pace.aloneMs -= clock.monotonic() - startedAt
    await retryTogether(slow, 1 + kinds)
    await retryTogether(grouped, alone.length > 0 ? 2 : 1)
    await retryAlone(alone, 1, () => true)
  }

  /** @returns Those that still wait. */
  async function retryAlone(
    entries: readonly Claimed[],
    rounds: number,
    mayBeAlone: () => boolean,
  ): Promise<readonly Claimed[]> {
    const mayGoOn = () => roundsLeft(run) >= rounds
    for (const [n, entry] of entries.entries()) {
      if (!mayGoOn() || !mayBeAlone()) return entries.slice(n)
      await gate.alone(() => turn([entry], 1, mayGoOn).then(() => {}))
    }
    return []
  }

  async function retryTogether(entries: readonly Claimed[], rounds: number, ahead?: Pace): Promise<void> {
    let left = entries
    while (left.length > 0 && roundsLeft(run) >= rounds) {
      await gate.together(async () => {
        let isFirst = true
        const mayGoOn = () => {
          const isTurn = isFirst || !gate.isAwaited
          isFirst = false
          return isTurn && roundsLeft(run) >= rounds
        }
        left = await turn(left, concurrency, mayGoOn, ahead)
      })
    }
  }

  // by itself, the next start settles what is done before it starts a suspect; others do not wait for that
  async function turn(...[entries, atOnce, mayGoOn, ahead]: Parameters<Window['run']>): Promise<Claimed[]> {
    const left = await window.run(entries, atOnce, mayGoOn, ahead)
    if (gate.isShared) await window.settle()
    return left
  }
}

/**
 * Which entries run side by side. What was found idle under any name but `parked` lost its process, and may be what killed it: its second
 * delivery runs in a small group, a later one or the last alone, those with the fewest deaths first. Suspects come after the others, so
 * that they take none with them.
 *
 * Where a process dies during last deliveries, nothing is left for those that ran beside the one that killed it. They are started when their
 * handlers are, never ahead, and alone for as long as `Pace.aloneMs` lasts.
 */
function partsOf(entries: readonly Claimed[], maxDeliveries: number) {
  const isLast = ({ deliveryCount }: Claimed) => deliveryCount + 1 >= maxDeliveries
  const mustBeAlone = (entry: Claimed) => entry.deliveryCount > 1 || isLast(entry)
  const above = entries.filter(isAboveSuspicion)
  const suspects = entries.filter((entry) => !isAboveSuspicion(entry))
  return {
    trusted: above.filter((entry) => !isLast(entry)),
    last: above.filter(isLast),
    grouped: suspects.filter((entry) => !mustBeAlone(entry)),
    alone: suspects.filter(mustBeAlone).sort((a, b) => a.deliveryCount - b.deliveryCount),
  }
}

/** Parked entries failed and said so, and those with no delivery never ran. */
function isAboveSuspicion({ from, deliveryCount }: Claimed): boolean {
  return from.owner === PARKED || deliveryCount === 0
}

function claimedOf(
  { parts: { invocation, consumer, clock } }: Run,
  claimed: readonly Claimed[],
): Observed['entriesClaimed'] {
  const now = clock.now()
  const entries = claimed.map(({ id: entryId, deliveryCount, from }) => ({
    entryId,
    ageMs: ageOf(entryId, now),
    deliveryCount,
    ...from,
  }))
  return { invocation, stream: consumer.stream, group: consumer.group, entries }
}

function buried({ id, deliveryCount, from }: Claimed, now: number): Settlement {
  const reason = from.owner === PARKED ? 'max-deliveries' : 'crashed'
  return {
    id,
    deliveryCount,
    outcome: { kind: 'dead-letter', letter: { reason, lastDeliveredAt: now - from.idleMs, failedAt: now } },
  }
}
