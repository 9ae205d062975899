import type { Entry } from '../../core/entry.ts'
import { compareEntryIds } from '../../core/entry.ts'
import type { OpenBreaker } from '../../core/gates.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { consumerKeys, isOwnedBy, PARKED_CONSUMER, withGatesOfSet } from '../../core/keys.ts'
import { isInEffect, parsePauses, WHOLE_GROUP } from '../../core/pauses.ts'
import type { ConsumerInfo } from '../../group/redis/commands/xinfo-consumers.ts'
import type { GroupInfo } from '../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'
import type { PendingEntry } from '../../group/redis/commands/xpending.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import type { AnswerOrRefusal } from '../ask.ts'
import { askQuestions } from '../ask.ts'
import { askLimits } from '../flow/limit-state.ts'
import {
  consumersQuestion,
  groupStateMemberQuestion,
  lettersTrimmedQuestion,
  oldestPendingQuestion,
  pausesQuestion,
  readStreamAbsence,
  streamInfoQuestion,
  unreadEntriesQuestion,
} from '../questions.ts'
import { ageOfEntryIfKnown } from './ages.ts'
import { inOrderQuestion, inspectAside } from './aside.ts'
import { inspectConsumers } from './consumers.ts'
import { breakerOf, breakersQuestion } from './flow.ts'
import type {
  AsideInspection,
  DeadLettersInspection,
  DeliveryCounts,
  FlowInspection,
  GroupInspection,
  OldestPending,
  PauseInspection,
} from './inspection.ts'
import { lagFromCount, lagFromStreamEnds, MAX_COUNTED_LAG } from './lag.ts'
import type { EntryInOrder } from './order.ts'
import { orderOfGroup } from './order-of-group.ts'
import type { StreamInspectionRequest } from './request.ts'
import { UnknownFactsCollector } from './unknowns.ts'

/** Pending entries of a group that are inspected. */
const SAMPLE = 100
/** A group with more consumer names than that is not asked for them: the answer has no bound. */
const MAX_CONSUMERS = 1_000

/** Inspects a group: two round trips, one for the limits of its consumer, and one or two more for each condition that something waits for; bounded ones however much is pending. */
export async function inspectGroup(
  sender: CallSender,
  request: StreamInspectionRequest,
  info: StreamInfo | undefined,
  group: GroupInfo,
): Promise<GroupInspection> {
  const { stream, at } = request
  const expected = request.expected.find((one) => one.group === group.name)
  const keys = keysOf(request, group.name, expected?.deadLetters)
  const byEnds = info && lagFromStreamEnds(group.lastDeliveredId, info)
  const listsConsumers = group.consumers <= MAX_CONSUMERS
  const told = await askQuestions(sender, {
    sample: oldestPendingQuestion(stream, group.name, SAMPLE),
    ...(listsConsumers && { consumers: consumersQuestion(stream, group.name) }),
    ...(keys && keysQuestions(keys)),
    ...(byEnds === undefined && { ahead: unreadEntriesQuestion(stream, group.lastDeliveredId, MAX_COUNTED_LAG) }),
  })

  const unknowns = new UnknownFactsCollector()
  if (!listsConsumers) unknowns.reasons.consumers = `there are more than ${MAX_CONSUMERS}`
  const sample = unknowns.read('oldestPending', told.sample)
  const consumers = unknowns.read('consumers', told.consumers)
  const owner = unknowns.read('isOurs', told.owner)
  const isOurs = isOursBy(owner, stream, consumers)
  const parked = consumers && (consumers.find(({ name }) => name === PARKED_CONSUMER)?.pending ?? 0)
  const [listed, aside, limits, seen] = await Promise.all([
    consumers && inspectConsumers(sender, keys, expected?.slots, isOurs, consumers, unknowns),
    keys && isOurs !== false ? asideOf(sender, keys, at, unknowns) : undefined,
    askLimits(sender, expected?.limits ?? [], at),
    orderOfGroup(
      sender,
      { group: group.name, keys: isOurs === false ? undefined : keys, expected, at, told },
      unknowns,
    ),
  ])
  return {
    group: group.name,
    lastDeliveredId: group.lastDeliveredId,
    ...lagOf(group, info, byEnds, told.ahead, at, unknowns),
    pending: group.pending,
    oldestPending: sample && oldestOf(sample, info, at, seen?.entry),
    deliveries: sample && countDeliveries(sample),
    inHand: parked === undefined ? undefined : Math.max(0, group.pending - parked),
    parked,
    aside,
    order: seen?.order,
    flow: aside && flowOf(unknowns.read('breakers', told.breakers), unknowns.read('limits', limits) ?? [], aside, at),
    consumerCount: group.consumers,
    consumers: listed,
    deadLetters: deadLettersOf(keys, owner, stream, told.deadLetters, told.lettersTrimmed, at, unknowns),
    sinceLastSuccessMs: owner === stream ? sinceOf(unknowns.read('isOurs', told.acked), at) : undefined,
    paused:
      owner === undefined || isOwnedBy(stream, owner || stream)
        ? pausedOf(unknowns.read('paused', told.paused), at)
        : undefined,
    isOurs,
    unknown: unknowns.reasons,
  }
}

async function asideOf(
  sender: CallSender,
  keys: ConsumerKeys,
  at: number,
  unknowns: UnknownFactsCollector,
): Promise<AsideInspection> {
  const { byTime, byCondition } = await inspectAside(sender, keys, at)
  return { byTime: unknowns.keep('byTime', byTime), byCondition: unknowns.keep('byCondition', byCondition) }
}

function flowOf(
  breakers: readonly OpenBreaker[] | undefined,
  limits: FlowInspection['limits'],
  { byCondition }: AsideInspection,
  at: number,
): FlowInspection {
  return { breakers: breakers?.map((one) => breakerOf(one, byCondition?.conditions, at)), limits }
}

/** What the keys of a group of ours say. */
function keysQuestions(keys: ConsumerKeys) {
  return {
    owner: groupStateMemberQuestion(keys, 'stream'),
    deadLetters: streamInfoQuestion(keys.deadLetters),
    lettersTrimmed: lettersTrimmedQuestion(keys),
    acked: groupStateMemberQuestion(keys, 'acked'),
    paused: pausesQuestion(keys),
    breakers: breakersQuestion(keys),
    inOrder: inOrderQuestion(keys),
  }
}

/** `undefined` for a stream whose name no other key can share a hash slot with: no consumer of ours is on it. */
function keysOf(
  { stream, set }: StreamInspectionRequest,
  group: string,
  deadLetters: string | undefined,
): ConsumerKeys | undefined {
  try {
    const keys = consumerKeys(stream, group, deadLetters)
    return set === undefined ? keys : withGatesOfSet(keys, set, group)
  } catch {
    return undefined
  }
}

function pausedOf(text: string | undefined, at: number): PauseInspection[] | undefined {
  if (!text) return undefined
  const paused = [...parsePauses(text)].filter(([, pause]) => isInEffect(pause, at))
  return paused.map(([type, pause]) => (type === WHOLE_GROUP ? pause : { type, ...pause }))
}

function sinceOf(acked: string | undefined, at: number): number | undefined {
  return acked && /^\d{1,15}$/.test(acked) ? Math.max(0, at - Number(acked)) : undefined
}

/** @param owner Which stream the group's keys belong to; `''` if they name none. */
function isOursBy(
  owner: string | undefined,
  stream: string,
  consumers: readonly ConsumerInfo[] | undefined,
): boolean | undefined {
  if (owner) return isOwnedBy(stream, owner)
  if (consumers?.some(({ name }) => name === PARKED_CONSUMER || /^(poller|claimer)-/.test(name))) return true
  return owner === undefined || consumers === undefined ? undefined : false
}

function lagOf(
  group: GroupInfo,
  info: StreamInfo | undefined,
  byEnds: number | undefined,
  ahead: AnswerOrRefusal<readonly Entry[]> | undefined,
  at: number,
  unknowns: UnknownFactsCollector,
): Pick<GroupInspection, 'lag' | 'lagAtLeast' | 'undeliveredAgeMs'> {
  if (byEnds !== undefined)
    return { lag: byEnds, undeliveredAgeMs: byEnds === 0 ? undefined : ageOfEntryIfKnown(info?.firstId, at) }
  const entries = unknowns.read('undeliveredAgeMs', ahead)
  const { reason, ...lag } = lagFromCount(entries?.length, group.lag, info?.length)
  if (reason !== undefined) unknowns.reasons.lag = reason
  return { ...lag, undeliveredAgeMs: ageOfEntryIfKnown(entries?.[0]?.id, at) }
}

function oldestOf(
  [oldest]: readonly PendingEntry[],
  info: StreamInfo | undefined,
  at: number,
  inOrder: EntryInOrder | undefined,
): OldestPending | undefined {
  if (oldest === undefined) return undefined
  const { id, consumerName, idleMs, deliveryCount } = oldest
  const isTrimmed = info !== undefined && (info.firstId === undefined || compareEntryIds(id, info.firstId) < 0)
  return {
    id,
    consumerName,
    ageMs: ageOfEntryIfKnown(id, at),
    idleMs: idleMs < 0 ? undefined : idleMs,
    deliveryCount,
    isTrimmed,
    ...(inOrder && { inOrder }),
  }
}

function countDeliveries(sample: readonly PendingEntry[]): DeliveryCounts | undefined {
  if (sample.length === 0) return undefined
  const counts: Record<string, number> = {}
  for (const { deliveryCount } of sample) counts[deliveryCount] = (counts[deliveryCount] ?? 0) + 1
  return { sampled: sample.length, counts }
}

function deadLettersOf(
  keys: ConsumerKeys | undefined,
  owner: string | undefined,
  stream: string,
  told: AnswerOrRefusal<StreamInfo> | undefined,
  toldTrimmed: AnswerOrRefusal<number> | undefined,
  at: number,
  unknowns: UnknownFactsCollector,
): DeadLettersInspection | undefined {
  if (keys === undefined) return undefined
  if (owner && !isOwnedBy(stream, owner)) {
    unknowns.reasons.deadLetters = `the keys of this group belong to stream ${owner}`
    return undefined
  }
  const trimmed = unknowns.read('deadLetters', toldTrimmed)
  if (told && 'refusal' in told && readStreamAbsence(told.refusal) === 'missing')
    return { stream: keys.deadLetters, length: 0, trimmed }
  const info = unknowns.read('deadLetters', told)
  return (
    info && {
      stream: keys.deadLetters,
      length: info.length,
      trimmed,
      oldestAgeMs: ageOfEntryIfKnown(info.firstId, at),
      newestAgeMs: ageOfEntryIfKnown(info.lastId, at),
    }
  )
}
