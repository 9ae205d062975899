import type { Clock } from '../clock.ts'
import type { TimeBudget } from '../core/budget.ts'
import { createTimeBudget, mayStartHandler } from '../core/budget.ts'
import type { Consumer } from '../define/consumer.ts'
import { RedisConnectionError } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import type { Group, Slot } from '../group/group.ts'
import type { AwaitableSlots } from '../group/slot-wait.ts'
import type { ConsumerFailure } from './invocation-errors.ts'
import type { RunParts } from './parts.ts'
import { isPassingFailure } from './passing-failure.ts'
import { findPolicyEngine } from './policy-engine.ts'
import { Run } from './run.ts'

/** What kind of run it is, and what it does once it has its slot. */
export interface PollOrClaimRun {
  readonly action: 'poll' | 'claim'
  /** Takes a slot; `undefined` if none is free. */
  open(request: OpenSlotRequest): Promise<OpenedRun | undefined>
}

/** What a slot is taken for. */
export interface OpenSlotRequest {
  readonly consumer: Consumer
  readonly group: Group
  readonly leaseMs: number
  readonly budget: TimeBudget
  readonly clock: Clock
}

/** A slot that was taken, and what is done under it. */
interface OpenedRun {
  readonly slot: Slot
  work(run: Run): Promise<WorkEnd>
}

/** How the work of a run ended. */
export interface WorkEnd {
  /** Only the time kept it from going on. */
  readonly isCutOff: boolean
  /** Milliseconds after which the invocation has to run again. Left out: it has not. */
  readonly againInMs?: number | undefined
}

/** A lease outlives its invocation by that much, so that nobody takes the slot before Lambda has ended it. */
const LEASE_MARGIN_MS = 5_000

/** No call waits for an answer in the last moments, so that the invocation can still fail with its report. */
export const ANSWER_MARGIN_MS = 50

/** How a consumer's part in an invocation ended. */
export interface ConsumerRunEnd {
  readonly failures: readonly ConsumerFailure[]
  /** Only the time kept it from going on. */
  readonly isCutOff: boolean
}

/** Runs a consumer: takes a slot, works, gives it back. Whatever goes wrong is in how it ended. */
export async function runConsumer(
  kind: PollOrClaimRun,
  parts: Omit<RunParts, 'group' | 'slot' | 'budget' | 'promote'>,
  redis: Connection,
  remainingMs: number,
): Promise<ConsumerRunEnd> {
  const { consumer, clock, report } = parts
  const { stream, group: name, settings, routeBounds, delays } = consumer
  const start = clock.monotonic()
  const budget = createTimeBudget({
    ...settings,
    now: start,
    remainingMs,
    handlerTimeoutMs: routeBounds.longestTimeoutMs,
  })
  const engine = findPolicyEngine(consumer)
  const remaining = () => budget.deadline - clock.monotonic() - ANSWER_MARGIN_MS
  const group: Group & AwaitableSlots = engine
    ? engine.open(redis, consumer, remaining)
    : redis.group(consumer, remaining)
  // a poller reads what it promoted itself
  const request = { redis, stream, remainingMs: remaining, ownGroup: kind.action === 'poll' ? name : undefined }
  const promote = delays && (() => delays.promote(request))
  const doubts = new Set<string>()
  let end: RunEnd = NO_RUN
  try {
    for (let isFirst = true; isFirst || (await isAgain(end, budget, parts)); isFirst = false) {
      const leaseMs = budget.deadline - clock.monotonic() + LEASE_MARGIN_MS
      const opening = kind.open({ consumer, group, leaseMs, budget, clock })
      const opened = isFirst || !listens(kind, parts) ? await opening : await opening.catch(passing)
      if (opened instanceof Error) {
        end = { errors: [opened], isCutOff: false, againInMs: TROUBLE_MS }
        continue
      }
      if (opened || isFirst) report.slotTaken(opened !== undefined)
      if (opened)
        end = await runSlot(kind, opened, new Run({ ...parts, promote, group, slot: opened.slot, budget }), doubts)
      else end = { ...end, againInMs: group.looksAgain || waitsForSlot(kind, parts, isFirst) ? NO_SLOT_MS : undefined }
    }
  } catch (error) {
    end = { ...NO_RUN, errors: [error as Error] }
  }
  report.ended(group.roundTrips, clock.monotonic() - start)
  return { failures: end.errors.map((error) => ({ stream, group: name, error })), isCutOff: end.isCutOff }
}

/** How a run ended. */
interface RunEnd extends WorkEnd {
  readonly errors: readonly Error[]
}

const NO_RUN: RunEnd = { errors: [], isCutOff: false }

/** How soon who listens tries again, once the server could not be asked. */
const TROUBLE_MS = 500

function listens({ action }: PollOrClaimRun, { lingerMs }: Pick<RunParts, 'lingerMs'>): boolean {
  return action === 'poll' && lingerMs === Infinity
}

/** @throws What will not pass. */
function passing(error: unknown): Error {
  if (isPassingFailure(error)) return error as Error
  throw error
}

/** How soon somebody looks again for a slot that others hold by now. */
const NO_SLOT_MS = 1_000

/** Who listens takes over from others; and who waited for what is due sees to it that somebody takes it. */
function waitsForSlot(kind: PollOrClaimRun, parts: Pick<RunParts, 'lingerMs'>, isFirst: boolean): boolean {
  return listens(kind, parts) || (kind.action === 'claim' && !isFirst)
}

/** Waits, with no slot and no command, until the invocation has to run again. @returns Whether it has to, and a handler still fits in then. */
async function isAgain(
  { againInMs }: RunEnd,
  budget: TimeBudget,
  { clock, signal }: Pick<RunParts, 'clock' | 'signal'>,
): Promise<boolean> {
  if (againInMs === undefined || !mayStartHandler(budget, clock.monotonic() + againInMs)) return false
  if (againInMs === 0) return true
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const stop = () => resolve(false)
  const cancel = clock.after(againInMs, () => resolve(true))
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  const is = await promise
  cancel()
  signal?.removeEventListener('abort', stop)
  // a process that was frozen meanwhile may come back after its time: a lease that is over at once keeps nobody away
  return is && mayStartHandler(budget, clock.monotonic())
}

/** Delayed events are for all groups of the stream: they come though this one is paused. @throws {RedisConnectionError} No reply came. */
async function promoteFirst({ delays, time }: Run): Promise<void> {
  while (delays?.isDue && time.spareMs() > 0) await delays.promote()
}

/** @param doubts Names under which a read of this invocation was not answered, and may be carried out still. */
async function runSlot(kind: PollOrClaimRun, opened: OpenedRun, run: Run, doubts: Set<string>): Promise<RunEnd> {
  const { action } = kind
  const isListening = listens(kind, run.parts)
  const { settler, time } = run
  const { group, slot, report, consumer, lingerMs } = run.parts
  const isInDoubt = () => {
    if (settler.isReadInDoubt) doubts.add(slot.consumerName)
    return doubts.has(slot.consumerName)
  }
  try {
    await promoteFirst(run)
    const { isCutOff, againInMs } = await opened.work(run)
    await run.end()
    if (!run.hasGivenSlot) await run.endPolicies()
    if (run.hasGivenSlot) return { errors: settler.failures, isCutOff, againInMs }
    const { drained, acked, ackMissed } = report.numbers
    const isPoll = action === 'poll'
    const isToDrain = isPoll && consumer.settings.mode !== 'once' && lingerMs !== Infinity
    const mayGoOn = isToDrain && drained && run.isSound && time.mayStart()
    const hasAcked = isPoll && acked > ackMissed // a claimer's own script has noted it
    const { isSettled } = settler
    // who listened kept publishers from waking others
    const takesFlag = isListening || (mayGoOn && isSettled)
    const end = { ...settler.nextHandBack(), isInDoubt: isInDoubt(), hasAcked, takesFlag }
    // a publisher woke a poller meanwhile: it may have found every slot taken, so that this one reads once more
    const isWanted = await group.giveSlot(slot, isPoll ? end : undefined)
    return { errors: settler.failures, isCutOff, againInMs: isWanted && mayGoOn ? 0 : againInMs }
  } catch (error) {
    // once more, if anything is not known and an answer could still come
    if (time.leftMs() > ANSWER_MARGIN_MS) await settler.finish().catch(() => {})
    await run.policies?.finish().catch(() => {})
    await run.end() // after it: it may have written dead letters, which somebody wants to know
    const end = { ...settler.nextHandBack(), isInDoubt: isInDoubt(), hasAcked: false, takesFlag: isListening }
    // a lease that cannot be given back ends by itself, but only with the invocation's time
    await group.giveSlot(slot, action === 'poll' ? end : undefined).catch(() => {})
    // a connection that was gone for one call is gone for the next
    const isKnown = error instanceof RedisConnectionError && settler.isCut
    const errors = isKnown ? settler.failures : [...settler.failures, error as Error]
    const goesOn = isListening && !run.parts.signal?.aborted && errors.every(isPassingFailure)
    return { errors, isCutOff: false, againInMs: goesOn ? TROUBLE_MS : undefined }
  } finally {
    settler.giveUp()
  }
}
