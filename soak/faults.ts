import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectIoredis } from 'millrace/ioredis'
import { pause, resume } from 'millrace/operate'
import type { Random } from '../demo/random.ts'
import type { FaultProxy } from '../test/support/fault-proxy.ts'
import type { PrivateRedis } from '../tools/redis-server.ts'
import type { Fleet, Seat } from './fleet.ts'
import type { CutCommand, Journal } from './journal.ts'
import { Work } from './kinds.ts'
import { insist } from './publish.ts'
import { GROUP, SETTINGS, STREAM } from './settings.ts'

/** What faults are done to. */
export interface Stage {
  readonly server: PrivateRedis
  readonly fleet: Fleet
  /** The publisher's way to the server. */
  readonly publisherProxy: FaultProxy
  readonly journal: Journal
  readonly random: Random
  /** Ends what lasts. */
  readonly signal: AbortSignal
}

interface FaultSource {
  /** How many of a deck of about a hundred. */
  readonly share: number
  inflict(stage: OpenStage): Promise<void>
}

interface OpenStage extends Stage {
  isRestarting: boolean
  isPaused: boolean
  /** Resolves when the stage's signal is aborted. */
  readonly over: Promise<unknown>
}

const { minIdleMs } = SETTINGS
const WAIT_MS = [300, 1_500] as const
const DOWN_MS = [0, 1_500] as const
const STALL_MS = [200, 2 * minIdleMs] as const
/** Longer than others wait; the long ones outlast the lease, so that another process has the same consumer name. */
const FREEZE_MS = [minIdleMs + 500, 2 * minIdleMs + 1_000] as const
const LONG_FREEZE_MS = [10_000, 14_000] as const
/** Long enough that what was under way is over. */
const PAUSE_MS = [1_500, 4_000] as const

/** Claimers have two slots, and one that dies or stands still holds its own for seconds: more such faults and nobody would claim. */
const SOURCES: readonly FaultSource[] = [
  { share: 16, inflict: async (stage) => aSeat(stage, 'poll').kill() },
  { share: 2, inflict: async (stage) => aSeat(stage, 'claim').kill() },
  { share: 12, inflict: (stage) => freeze(stage, 'poll', FREEZE_MS) },
  { share: 2, inflict: (stage) => freeze(stage, 'claim', FREEZE_MS) },
  { share: 3, inflict: (stage) => freeze(stage, 'poll', LONG_FREEZE_MS) },
  { share: 10, inflict: async (stage) => aSeat(stage).sever() },
  { share: 3, inflict: async (stage) => severAll(stage) },
  { share: 8, inflict: (stage) => stall(stage, [aSeat(stage)]) },
  { share: 2, inflict: (stage) => stall(stage, stage.fleet.seats) },
  { share: 8, inflict: (stage) => cut(stage, 'xreadgroup', aSeat(stage, 'poll')) },
  { share: 8, inflict: (stage) => cut(stage, 'xack', aSeat(stage)) },
  { share: 8, inflict: (stage) => cut(stage, 'evalsha', aSeat(stage)) },
  { share: 2, inflict: (stage) => cut(stage, 'xadd') },
  { share: 3, inflict: (stage) => cut(stage, 'evalsha') },
  { share: 3, inflict: (stage) => restartServer(stage, 'server killed') },
  { share: 3, inflict: (stage) => restartServer(stage, 'server restarted') },
  { share: 5, inflict: (stage) => pauseFor(stage, 'group paused', undefined) },
  { share: 5, inflict: (stage) => pauseFor(stage, 'type paused', Work.type) },
]
const DECK = SOURCES.flatMap((source) => Array.from({ length: source.share }, () => source))

/** Injects one fault after the other, several of them lasting at once, until it is stopped; then nothing is left of any. */
export async function injectFaults(given: Stage): Promise<void> {
  const { random, signal } = given
  const stage: OpenStage = { ...given, isRestarting: false, isPaused: false, over: once(signal, 'abort') }
  const lasting = new Set<Promise<void>>()
  while (!signal.aborted) {
    await sleep(random.integer(...WAIT_MS), undefined, { signal }).catch(() => {})
    if (signal.aborted) break
    const fault = random.pick(DECK).inflict(stage)
    const done = fault.finally(() => lasting.delete(done))
    // it is the end that waits for it and rejects, as with a server that does not come back
    done.catch(() => lasting.add(done))
    lasting.add(done)
  }
  await Promise.all(lasting)
}

/** One where an invocation runs, if there is any; a poller's four times of five. */
function aSeat(
  { fleet, random }: Stage,
  action: Seat['action'] = random.pick(['poll', 'poll', 'poll', 'poll', 'claim']),
): Seat {
  const seats = fleet.seats.filter((seat) => seat.action === action)
  const busy = seats.filter((seat) => seat.isBusy)
  return random.pick(busy.length > 0 ? busy : seats)
}

function severAll({ fleet, publisherProxy }: Stage): void {
  for (const seat of fleet.seats) seat.sever()
  publisherProxy.severAll()
}

async function freeze(stage: Stage, action: Seat['action'], ms: readonly [number, number]): Promise<void> {
  await aSeat(stage, action).freeze(stage.random.integer(...ms), stage.signal)
}

async function stall({ random, signal }: Stage, seats: readonly Seat[]): Promise<void> {
  const ms = random.integer(...STALL_MS)
  await Promise.all(seats.map((seat) => seat.stall(ms, signal)))
}

/** Sets a trap, which is noted when it springs: a seat whose process talks to the server directly keeps it for a later one. */
async function cut(stage: OpenStage, command: CutCommand, seat?: Seat): Promise<void> {
  const { journal, random, publisherProxy, over } = stage
  const when = random.pick(['before', 'after'] as const)
  const proxy = seat?.proxy ?? publisherProxy
  const sprung = when === 'before' ? proxy.cutBefore(command) : proxy.cutAfter(command)
  const noted = sprung.then(() => journal.moment(`cut ${when} ${command}`, seat?.number))
  await Promise.race([noted, over])
}

/** Takes the server down, and brings it up again on the same port with what it had written; one restart at a time. */
async function restartServer(stage: OpenStage, kind: 'server killed' | 'server restarted'): Promise<void> {
  const { journal, server, random } = stage
  if (stage.isRestarting) return
  stage.isRestarting = true
  const isOver = journal.begin(kind)
  if (kind === 'server killed') {
    server.kill('SIGKILL')
    await sleep(random.integer(...DOWN_MS))
  }
  await server.restart()
  isOver()
  stage.isRestarting = false
}

/** Pauses, and resumes; one pause at a time. A server that is away is asked again. */
async function pauseFor(
  stage: OpenStage,
  kind: 'group paused' | 'type paused',
  type: string | undefined,
): Promise<void> {
  if (stage.isPaused) return
  stage.isPaused = true
  const redis = connectIoredis(stage.server.url)
  const options = { redis, ...(type !== undefined && { type }) }
  const source = { stream: STREAM, group: GROUP }
  try {
    await insist(NEVER, () => pause(source, options))
    const isOver = stage.journal.begin(kind)
    await sleep(stage.random.integer(...PAUSE_MS), undefined, { signal: stage.signal }).catch(() => {})
    isOver()
    await insist(NEVER, () => resume(source, options))
  } finally {
    await redis.close()
    stage.isPaused = false
  }
}

const NEVER = new AbortController().signal
