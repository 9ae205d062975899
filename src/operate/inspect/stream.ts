import { splitIntoChunks } from '../../core/chunks.ts'
import { compareEntryIds, parseEntryId } from '../../core/entry.ts'
import type { GroupInfo } from '../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import type { AnswerOrRefusal } from '../ask.ts'
import { askQuestions } from '../ask.ts'
import { groupsQuestion, memoryUsageQuestion, readStreamAbsence, streamInfoQuestion } from '../questions.ts'
import { ageOfEntryIfKnown } from './ages.ts'
import { delayQuestions, delaysOf } from './delays.ts'
import { inspectGroup } from './group.ts'
import type { GroupInspection, StreamInspection } from './inspection.ts'
import { keepingOf, keepingQuestions } from './keeping.ts'
import type { StreamInspectionRequest } from './request.ts'
import { UnknownFactsCollector } from './unknowns.ts'

/** Groups of a stream that are inspected. */
const MAX_GROUPS = 100
/** Groups that are inspected side by side. */
const GROUPS_AT_ONCE = 10

/** Inspects a stream and its groups. All keys lie in one hash slot, so that this works on a cluster, too. */
export async function inspectStream(sender: CallSender, request: StreamInspectionRequest): Promise<StreamInspection> {
  const { stream, at } = request
  // groups before the stream: what is then the last entry was not beyond a group that had it delivered before
  const told = await askQuestions(sender, {
    groups: groupsQuestion(stream),
    info: streamInfoQuestion(stream),
    memoryBytes: memoryUsageQuestion(stream),
    ...delayQuestions(stream),
    ...keepingQuestions(stream),
  })
  const unknowns = new UnknownFactsCollector()
  const delays = delaysOf(told, at, unknowns)
  const state = stateOf([told.groups, told.info])
  const expected = expectedGroups(request)
  if (state === 'missing' || state === 'other-type')
    return { stream, state, delays, groups: [], missingGroups: expected, unknown: {} }
  const infos = unknowns.read('groups', told.groups)
  const info = unknowns.read('length', told.info)
  const chosen = chooseGroups(infos ?? [], request.group, unknowns)
  const groups = await inspectGroups(sender, request, info, chosen)
  return {
    stream,
    state,
    length: info?.length,
    entriesAdded: info?.entriesAdded,
    ...endsOf(info, at),
    memoryBytes: unknowns.read('memoryBytes', told.memoryBytes),
    delays,
    keeping: keepingOf(
      told,
      infos?.map(({ name }) => name),
      at,
      unknowns,
    ),
    groups,
    doneBeforeId: groups.length === infos?.length ? doneBefore(groups) : undefined,
    missingGroups: infos === undefined ? [] : expected.filter((name) => !infos.some((group) => group.name === name)),
    unknown: unknowns.reasons,
  }
}

async function inspectGroups(
  sender: CallSender,
  request: StreamInspectionRequest,
  info: StreamInfo | undefined,
  groups: readonly GroupInfo[],
): Promise<GroupInspection[]> {
  const inspected: GroupInspection[] = []
  for (const chunk of splitIntoChunks(groups, GROUPS_AT_ONCE))
    inspected.push(...(await Promise.all(chunk.map((group) => inspectGroup(sender, request, info, group)))))
  return inspected
}

/** The lowest id that a group may still need. `undefined` where one of them does not report. */
function doneBefore(groups: readonly GroupInspection[]): string | undefined {
  const needed = groups.map(({ pending, oldestPending, lastDeliveredId }) =>
    pending > 0 ? oldestPending?.id : idAfter(lastDeliveredId),
  )
  return needed.every((id) => id !== undefined) ? needed.toSorted(compareEntryIds)[0] : undefined
}

function idAfter(entryId: string): string {
  const { ms, seq } = parseEntryId(entryId)
  return `${ms}-${BigInt(seq) + 1n}`
}

function stateOf(told: readonly AnswerOrRefusal<unknown>[]): StreamInspection['state'] {
  const refusals = told.flatMap((each) => ('value' in each ? [] : [each.refusal]))
  if (refusals.length < told.length) return 'stream'
  const absences = refusals.map(readStreamAbsence)
  if (absences.includes('another type')) return 'other-type'
  return absences.includes('missing') ? 'missing' : 'unknown'
}

function expectedGroups({ group, expected }: StreamInspectionRequest): string[] {
  return group === undefined ? [...new Set(expected.map((one) => one.group))] : [group]
}

function chooseGroups(
  infos: readonly GroupInfo[],
  group: string | undefined,
  { reasons }: UnknownFactsCollector,
): GroupInfo[] {
  const chosen = infos.filter(({ name }) => group === undefined || name === group)
  if (chosen.length > MAX_GROUPS) reasons.groups = `only ${MAX_GROUPS} of ${chosen.length} are inspected`
  return chosen.slice(0, MAX_GROUPS)
}

function endsOf(info: StreamInfo | undefined, at: number): Partial<StreamInspection> {
  const { firstId, lastId } = info ?? {}
  return { firstId, firstAgeMs: ageOfEntryIfKnown(firstId, at), lastId, lastAgeMs: ageOfEntryIfKnown(lastId, at) }
}
