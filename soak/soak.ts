import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { createRandom } from '../demo/random.ts'
import { startFaultProxy } from '../test/support/fault-proxy.ts'
import { startRedisServer } from '../tools/redis-server.ts'
import { soakConsumer } from './consumer.ts'
import type { Evidence } from './evidence.ts'
import { pausesOf, processesOf } from './evidence.ts'
import { injectFaults } from './faults.ts'
import { Fleet } from './fleet.ts'
import { SoakJanitor } from './janitor.ts'
import type { Fault } from './journal.ts'
import { Journal } from './journal.ts'
import { readNotes } from './notes.ts'
import type { Gauges } from './observer.ts'
import { Observer } from './observer.ts'
import type { OrderedAccount } from './ordered.ts'
import { OrderedGroup } from './ordered.ts'
import { lineEveryMs, progressLine } from './progress.ts'
import type { Delayed, Published } from './publish.ts'
import { publishOn } from './publish.ts'
import { ACTIONS, DRAIN_LIMIT_MS, LEASES_LIMIT_MS, MAX_PENDING, STREAM, TIMING } from './settings.ts'
import type { Interval } from './time.ts'
import { now, watchAnswers, watchStandstill } from './time.ts'

/** What a soak is given. */
interface SoakTask {
  readonly seconds: number
  readonly seed: number
  /** Where the notes are kept; `undefined`: nowhere, in the end. */
  readonly notes: string | undefined
  /** Whether a janitor trims the stream meanwhile. */
  readonly janitor: boolean
  /** Whether another group keeps the order of keys meanwhile. */
  readonly ordered: boolean
  /** Ends it early; it rejects then. */
  readonly signal: AbortSignal
  readonly print: (line: string) => void
}

interface Outcome {
  readonly evidence: Evidence
  readonly faults: readonly Fault[]
  /** Of the group that keeps order; left out if there is none. */
  readonly ordered?: OrderedAccount
}

const LOOK_MS = 250
/** Each concern draws from a row of its own, so that what one draws does not depend on another's timing. */
const ROWS = { events: 1, faults: 2, seats: 3, ordered: 500, janitor: 1_000 }

/**
 * Publishes and injects faults for that long, then drains what is left, and puts together what all noted. When it is over, early or not,
 * nothing that it started still runs and nothing that it wrote is left, notes that were asked for apart.
 */
export async function soak(task: SoakTask): Promise<Outcome> {
  const cleanups: (() => unknown)[] = []
  const later = <T>(made: T, cleanup: (made: T) => unknown): T => {
    cleanups.push(() => cleanup(made))
    return made
  }
  try {
    return await soakWith(task, later)
  } finally {
    const failures: unknown[] = []
    for (const cleanup of cleanups.reverse()) await Promise.resolve(cleanup()).catch((error) => failures.push(error))
    if (failures.length > 0)
      console.error(`Cannot clean up: ${failures.map((error) => (error as Error).message).join('; ')}`)
  }
}

async function soakWith(task: SoakTask, later: <T>(made: T, cleanup: (made: T) => unknown) => T): Promise<Outcome> {
  const { seconds, seed, signal } = task
  const startedAt = now()
  const dir = task.notes ?? later(await mkdtemp(join(tmpdir(), 'millrace-soak-')), removeDir)
  await mkdir(dir, { recursive: true })
  const server = later(await startRedisServer({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] }), (made) =>
    made.stop(),
  )
  const observer = later(
    new Observer(
      server.url,
      soakConsumer(() => {}),
    ),
    (made) => made.close(),
  )
  const publisherProxy = later(await startFaultProxy(server), (made) => made.close())
  const redis = later(connectIoredis(publisherProxy.url), (made) => made.close())
  const standstills: Interval[] = []
  later(
    watchStandstill((one) => standstills.push(one)),
    (stop) => stop(),
  )
  const silences: Interval[] = []
  later(
    watchAnswers(
      () => observer.ping(),
      (one) => silences.push(one),
    ),
    (stop) => stop(),
  )
  const journal = new Journal()
  const randomOf = (row: number) => createRandom(seed + row * 7_919)
  const fleet = later(
    await Fleet.start(ACTIONS, {
      server,
      dir,
      journal,
      timing: TIMING,
      random: (seat) => randomOf(ROWS.seats + seat),
    }),
    (made) => made.stop(true),
  )
  const janitor = task.janitor
    ? later(SoakJanitor.start(server.url, randomOf(ROWS.janitor)), (made) => made.stop())
    : undefined
  const ordered = task.ordered
    ? later(await OrderedGroup.start(server, dir, (seat) => randomOf(ROWS.ordered + 1 + seat)), async (made) => {
        await made.stop(true)
        made.close()
      })
    : undefined
  const published: Published[] = []
  const delayed: Delayed[] = []
  const status = { phase: 'faults' }
  task.print(`Redis on port ${server.port}, ${ACTIONS.length} processes, seed ${seed}`)
  let gauges: Gauges | undefined
  let orderedPending = 0
  later(
    every(LOOK_MS, async () => {
      const others = await ordered?.gauges().catch(() => undefined)
      gauges = await observer.gauges().catch(() => undefined)
      orderedPending = others?.pending ?? 0
    }),
    (stop) => stop(),
  )
  later(
    every(lineEveryMs(process.stdout), () => {
      const elapsedMs = now() - startedAt
      const counts = {
        published: published.length + delayed.length,
        faults: journal.faults.length,
        invocations: fleet.invocations,
      }
      task.print(progressLine({ ...status, elapsedMs, gauges, ...counts }))
    }),
    (stop) => stop(),
  )

  await together(signal, seconds * 1_000, [
    (over) =>
      publishOn({
        publisher: createPublisher({ stream: STREAM, redis, maxLength: Number.POSITIVE_INFINITY }),
        append: (fields) => observer.append(fields),
        random: randomOf(ROWS.events),
        isHeld: () => Math.max(gauges?.pending ?? 0, orderedPending) > MAX_PENDING,
        signal: over,
        interrupt: signal,
        onPublished: (one) => published.push(one),
        onDelayed: (one) => delayed.push(one),
      }),
    (over) => injectFaults({ server, fleet, publisherProxy, journal, random: randomOf(ROWS.faults), signal: over }),
    async (over) => ordered?.injectFaults(randomOf(ROWS.ordered), over),
  ])
  status.phase = 'drain '
  await reached(DRAIN_LIMIT_MS, signal, observer, isDrained)
  if (ordered) await reached(DRAIN_LIMIT_MS, signal, ordered, ({ backlog, pending }) => backlog + pending === 0)
  await Promise.all([fleet.stop(false), ordered?.stop(false)])
  await reached(LEASES_LIMIT_MS, signal, observer, ({ sideKeys }) => sideKeys.length === 0)

  const trimmed = await janitor?.finish()
  if (trimmed)
    task.print(
      `A janitor archived ${trimmed.archived} entries in ${trimmed.objects} objects and left ${trimmed.kept}; ${trimmed.refused} runs failed`,
    )
  const { faults } = journal
  const { lives } = fleet
  const holdings = await observer.holdings(janitor?.entries)
  const serverEpochMs = Date.now() - now()
  const seen = { lives, faults, standstills, silences, published, delayed, holdings, serverEpochMs }
  if (task.notes !== undefined) await writeFile(join(dir, 'seen.json'), JSON.stringify(seen))
  const processes = processesOf({ lives, notes: readNotes(dir), faults, standstills, silences })
  const account = await ordered?.account(janitor?.entries)
  return {
    faults,
    ...(account && { ordered: account }),
    evidence: { published, delayed, processes, holdings, pauses: pausesOf(faults), serverEpochMs },
  }
}

/** Leases come and go as long as somebody polls. */
function isDrained({ backlog, pending, sideKeys }: Gauges): boolean {
  return backlog === 0 && pending === 0 && sideKeys.every((key) => key.includes(':slot:'))
}

/** Waits until the server is in that state, or for so long; what is wrong then is found in the end. */
async function reached(
  limitMs: number,
  signal: AbortSignal,
  observer: Pick<Observer, 'gauges'>,
  isReached: (gauges: Gauges) => boolean,
): Promise<void> {
  const giveUpAt = now() + limitMs
  while (now() < giveUpAt) {
    const gauges = await observer.gauges().catch(() => undefined)
    if (gauges && isReached(gauges)) return
    await sleep(LOOK_MS, undefined, { signal })
  }
}

/** Runs tasks side by side until time is up, or one of them fails, and waits for all. @throws What the first failed with. */
async function together(
  signal: AbortSignal,
  ms: number,
  tasks: readonly ((over: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const over = new AbortController()
  const running = tasks.map((task) => task(AbortSignal.any([signal, over.signal])))
  const alarm = sleep(ms, undefined, { signal: AbortSignal.any([signal, over.signal]) })
  const failure = Promise.all(running)
  try {
    await Promise.race([alarm, failure])
  } finally {
    over.abort()
    await Promise.allSettled([...running, alarm])
  }
  await failure
}

function every(ms: number, act: () => unknown): () => void {
  const timer = setInterval(() => void act(), ms)
  return () => clearInterval(timer)
}

const removeDir = (dir: string) => rm(dir, { recursive: true, force: true })
