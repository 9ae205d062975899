import type { Clock } from '../../clock.ts'
import { assertClock, systemClock } from '../../clock.ts'
import { compareEntryIds } from '../../core/entry.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { consumerKeys } from '../../core/keys.ts'
import {
  assertInteger,
  assertKnownOptions,
  assertNumber,
  assertObject,
  assertText,
  wrongUseError,
} from '../../core/options.ts'
import { CONSUMER_NUMBER_OPTIONS } from '../../core/rows.ts'
import type { Consumer, ConsumerSet } from '../../define/consumer.ts'
import { listConsumers } from '../../define/consumer-set.ts'
import { listPolicyKeyNeeds } from '../../define/policy-needs.ts'
import { quotedValue } from '../../errors.ts'
import type { Connection } from '../../group/connection.ts'
import { connectionSignIn, createOperatorSender } from '../../group/redis/redis-connection.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { failuresIfSomeAnswered } from '../../group/redis/some-answered.ts'
import type { AnswersByName, CallsWithReceiver } from '../ask.ts'
import { QuestionSet } from '../ask.ts'
import { flowOf } from '../flow/consumer-limits.ts'
import { askLimits } from '../flow/limit-state.ts'
import { type AsideFacts, askAside } from './aside-facts.ts'
import { askOrFail } from './ask-or-fail.ts'
import type { CheckScope, CheckSubject, DoctorFacts } from './check.ts'
import { runCheck } from './check.ts'
import { DOCTOR_CHECKS } from './checks.ts'
import type { GroupFacts, RightsFacts, ServerFacts, StreamFacts, UnreadEntriesFacts } from './facts.ts'
import { groupQuestions, rightsQuestions, serverQuestions, streamQuestions, unreadEntriesQuestions } from './facts.ts'
import type { Finding } from './finding.ts'
import { errorResult, SEVERITIES } from './finding.ts'
import type { FlowFacts } from './flow-facts.ts'
import { askOrder, type OrderFacts } from './order-facts.ts'
import { sizesOf } from './sizes.ts'

/** Where the doctor looks, and what the server cannot say. */
export interface DoctorOptions {
  /** The server. */
  readonly redis: Connection
  /** Further streams to inspect. Default: only those of the consumers. */
  readonly streams?: readonly string[]
  /** The one group of `streams` to inspect. Default: the first twenty that they have. */
  readonly group?: string
  /** The timeout of the poller's function in milliseconds; at a cold start the remaining time shows it. Default: not known. */
  readonly functionTimeoutMs?: number
  /** The timeouts of functions that `lambdaFunction` invokes, in milliseconds, by the event type that they handle. Default: not known. */
  readonly targetTimeoutsMs?: Readonly<Record<string, number>>
  /** Pollers that schedules wake at once. Default: not known. */
  readonly pollers?: number
  /** Milliseconds for all answers together. Default: the client's own limits. */
  readonly timeoutMs?: number
  /** Time, for tests. Default: the system's. */
  readonly clock?: Clock
}

const OPTIONS = ['redis', 'streams', 'group', 'functionTimeoutMs', 'targetTimeoutsMs', 'pollers', 'timeoutMs', 'clock']

/** Groups of a stream whose consumers are not known. */
const MOST_GROUPS = 20

/**
 * Inspects consumers, their streams and their server, and says what is wrong and how to fix it. Reads and changes nothing: some thirty
 * commands per consumer, none of which costs more the longer a stream is, in three writes, one or two for each condition that something waits for, and some twenty where keys wait in order. What the server refuses to report is a finding,
 * `unknown`, that says which right would.
 *
 * @returns The worst first.
 * @throws {TypeError | RangeError} A bad option, nothing to inspect, or a policy that does not say what it needs.
 * @throws {RedisConnectionError} No reply came.
 * @throws {RedisReplyError} The server refuses everything: a wrong password, or it is still loading.
 */
export async function diagnose(
  consumers: Consumer | readonly (Consumer | ConsumerSet)[],
  options: DoctorOptions,
): Promise<readonly Finding[]> {
  const given = listConsumers(consumers)
  checkOptions(given, options)
  const { redis, streams = [], group, timeoutMs, clock = systemClock } = options
  const { functionTimeoutMs, targetTimeoutsMs = {}, pollers } = options
  const deadline = timeoutMs === undefined ? undefined : clock.monotonic() + timeoutMs
  const sender = createOperatorSender(
    'diagnose',
    redis,
    deadline === undefined ? undefined : () => deadline - clock.monotonic(),
  )

  const names = [...new Set([...given.map(({ stream }) => stream), ...streams])]
  const patients = names.map((name) => new StreamPatient(name, given, streams.includes(name) ? group : undefined))
  const wards = await wardsOf(sender, patients)
  const { seen, unseen } = await lookedAt(sender, wards, clock)

  const now = valueOr((seen[0] as Ward).server.answers.now, clock.now())
  const localNow = clock.now()
  const about = {
    now,
    localNow,
    functionTimeoutMs,
    targetTimeoutsMs,
    pollers,
    signIn: connectionSignIn(redis),
    group: '',
    keys: undefined,
    consumer: undefined,
    sameGroup: [],
  }
  const findings = [...unseen, ...seen.flatMap((ward) => examineWard(ward, about))]
  return onceEach(findings).sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
}

/** Streams that one server is asked about, together with itself. */
interface Ward {
  readonly server: QuestionSet<ServerFacts>
  readonly patients: readonly StreamPatient[]
}

type About = Omit<CheckSubject, 'stream' | 'ours'>

function examineWard({ server, patients }: Ward, about: About): Finding[] {
  const [{ name: stream }] = patients as readonly [StreamPatient]
  return [
    ...examine('server', { ...server.answers, sizes: sizesOf(patients) }, { ...about, stream, ours: new Set() }),
    ...patients.flatMap((patient) => examineStream(patient, server.answers, about)),
  ]
}

function examineStream(
  { name, ours, inquiry, groups }: StreamPatient,
  ofServer: Partial<AnswersByName<DoctorFacts>>,
  about: About,
): Finding[] {
  const known = { ...about, stream: name, ours }
  const told = { ...ofServer, ...inquiry.answers }
  const ofGroups = groups.flatMap(({ group, keys, consumer, inquiry, rights, ahead, aside, flow, order }) => {
    const all = { ...told, ...inquiry.answers, ...rights?.answers, ...ahead?.answers, ...aside, ...flow, ...order }
    const sameGroup = groups.flatMap((one) => (one.group === group && one.consumer ? [one.consumer] : []))
    return examine('group', all, { ...known, group, keys, consumer, sameGroup })
  })
  return [...examine('stream', told, known), ...ofGroups]
}

function examine(scope: CheckScope, told: Partial<AnswersByName<DoctorFacts>>, subject: CheckSubject): Finding[] {
  return DOCTOR_CHECKS.filter((check) => check.scope === scope).flatMap((check) => runCheck(check, told, subject))
}

/** One for all; of a cluster one per stream, since every node knows only itself. */
async function wardsOf(sender: CallSender, patients: readonly StreamPatient[]): Promise<Ward[]> {
  const isCluster = patients.length > 1 && (await sender.masters()).length > 1
  return (isCluster ? patients.map((patient) => [patient]) : [patients]).map((together) => ({
    server: new QuestionSet(serverQuestions((together[0] as StreamPatient).name)),
    patients: together,
  }))
}

/**
 * Inspects all; what one node of a cluster does not report since it is gone is a finding, the others are inspected.
 *
 * @throws {RedisConnectionError} None answers.
 */
async function lookedAt(
  sender: CallSender,
  wards: readonly Ward[],
  clock: Clock,
): Promise<{ seen: Ward[]; unseen: Finding[] }> {
  const failures = failuresIfSomeAnswered(await Promise.allSettled(wards.map((ward) => look(sender, ward, clock))))
  const unseen = wards.flatMap(({ patients }, at) => {
    const failure = failures[at]
    return failure ? patients.map(({ name }) => unreachable(name, failure)) : []
  })
  return { seen: wards.filter((_ward, at) => !failures[at]), unseen }
}

function unreachable(stream: string, { message }: Error): Finding {
  const fix = 'see whether the node runs, and whether a replica takes its place'
  const told = errorResult(`The node that has the stream does not answer: ${message}`, fix)
  return { check: 'reachable', stream, ...told }
}

async function look(sender: CallSender, { server, patients }: Ward, clock: Clock): Promise<void> {
  await askOrFail(sender, [server, ...patients.flatMap((patient) => patient.inquiries)])
  const further = patients.flatMap((patient) => [
    ...patient.findGroups().map(({ inquiry }) => inquiry),
    ...patient.groups.flatMap((group) => patient.findAhead(group) ?? []),
  ])
  await askOrFail(sender, further)
  const now = valueOr(server.answers.now, clock.now())
  const groups = patients.flatMap((patient) => patient.groups)
  await Promise.all(
    groups.map(async (one) => {
      const [aside, limits, order] = await Promise.all([
        askAside(sender, one.group, one.keys, now),
        askLimits(sender, one.consumer ? flowOf(one.consumer).limits : [], now),
        askOrder(sender, one, now),
      ])
      Object.assign(one, { aside, flow: { limits }, order })
    }),
  )
}

/** What two nodes say of themselves in the same words is said once. */
function onceEach(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((finding) => [JSON.stringify(finding), finding])).values()]
}

/** A group that is inspected. */
interface GroupPatient {
  readonly group: string
  readonly keys: ConsumerKeys
  readonly consumer: Consumer | undefined
  readonly inquiry: QuestionSet<GroupFacts>
  /** Of a consumer's group whose policies need some. */
  readonly rights: QuestionSet<RightsFacts> | undefined
  /** Of a consumer's group that has not read all. */
  ahead?: QuestionSet<UnreadEntriesFacts>
  /** What it has set aside. */
  aside?: AnswersByName<AsideFacts>
  /** How far its limits are used. */
  flow?: AnswersByName<FlowFacts>
  /** What waits in order. */
  order?: AnswersByName<OrderFacts>
}

/** A stream that is inspected, with its groups. */
class StreamPatient {
  readonly name: string
  /** The groups of the given consumers. */
  readonly ours: ReadonlySet<string>
  readonly inquiry: QuestionSet<StreamFacts>
  readonly groups: GroupPatient[]

  constructor(name: string, consumers: readonly Consumer[], group: string | undefined) {
    const own = consumers.filter(({ stream }) => stream === name)
    this.name = name
    this.ours = new Set(own.map((consumer) => consumer.group))
    this.inquiry = new QuestionSet(streamQuestions(name))
    this.groups = own.map((consumer) => asPatient(consumer.group, consumer.keys, consumer))
    if (group !== undefined && !this.ours.has(group)) this.groups.push(...patientOf(name, group))
  }

  get inquiries(): readonly CallsWithReceiver[] {
    return [this.inquiry, ...this.groups.flatMap(({ inquiry, rights }) => (rights ? [inquiry, rights] : [inquiry]))]
  }

  /** Of a stream without consumers, whatever groups it has; to be asked about. */
  findGroups(): readonly GroupPatient[] {
    if (this.groups.length > 0) return []
    const names = valueOr(this.inquiry.answers.groups, []).slice(0, MOST_GROUPS)
    for (const { name } of names) this.groups.push(...patientOf(this.name, name))
    return this.groups
  }

  /** Of a consumer's group that has not read all, what it has before it; to be asked about. */
  findAhead(patient: GroupPatient): QuestionSet<UnreadEntriesFacts> | undefined {
    const { stream, groups } = this.inquiry.answers
    const found = valueOr(stream, 'missing')
    const made = valueOr(groups, []).find(({ name }) => name === patient.group)
    if (!patient.consumer || !made || typeof found === 'string') return undefined
    if (compareEntryIds(made.lastDeliveredId, found.lastGeneratedId) >= 0) return undefined
    patient.ahead = new QuestionSet(unreadEntriesQuestions(this.name, made.lastDeliveredId))
    return patient.ahead
  }
}

function patientOf(stream: string, group: string): GroupPatient[] {
  try {
    return [asPatient(group, consumerKeys(stream, group), undefined)]
  } catch {
    return [] // a name that gives no keys is no group of ours
  }
}

function asPatient(group: string, keys: ConsumerKeys, consumer: Consumer | undefined): GroupPatient {
  const inquiry = new QuestionSet(
    groupQuestions(group, keys, consumer?.settings.maxPollers ?? CONSUMER_NUMBER_OPTIONS.maxPollers.default),
  )
  const needs = consumer ? listPolicyKeyNeeds(consumer) : []
  const rights = needs.length > 0 ? new QuestionSet(rightsQuestions(keys.stream, needs)) : undefined
  return { group, keys, consumer, inquiry, rights }
}

function valueOr<T>(told: AnswersByName<{ value: T }>['value'], otherwise: T): T {
  return 'value' in told ? told.value : otherwise
}

function checkOptions(consumers: readonly Consumer[], options: DoctorOptions): void {
  const action = 'diagnose'
  assertKnownOptions(action, options, OPTIONS)
  const { streams = [], group, functionTimeoutMs, targetTimeoutsMs = {}, pollers, timeoutMs, clock } = options
  if (!Array.isArray(streams)) throw wrongUseError(action, `streams must be an array, got ${typeof streams}`)
  for (const stream of streams) assertText(action, 'every stream', stream)
  if (group !== undefined) assertText(action, 'group', group)
  if (functionTimeoutMs !== undefined) assertNumber(action, 'functionTimeoutMs', functionTimeoutMs, 1)
  assertObject(action, 'targetTimeoutsMs', targetTimeoutsMs)
  for (const [type, ms] of Object.entries(targetTimeoutsMs))
    assertNumber(action, `targetTimeoutsMs of ${quotedValue(type)}`, ms, 1)
  if (pollers !== undefined) assertInteger(action, 'pollers', pollers, 1)
  if (timeoutMs !== undefined) assertNumber(action, 'timeoutMs', timeoutMs, 1)
  if (clock !== undefined) assertClock(action, clock)
  for (const consumer of consumers)
    if (!consumer?.settings || !consumer.keys) throw wrongUseError(action, 'a consumer must come from defineConsumer')
  if (consumers.length + streams.length === 0)
    throw wrongUseError(action, 'there must be at least one consumer, or one of streams')
}
