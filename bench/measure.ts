import type { Contender } from './contender.ts'
import { expectEqual } from './contender.ts'
import { countCommands } from './inspect.ts'

/** What one run of a contender cost. */
export interface Measured {
  readonly count: number
  /** Wall clock. */
  readonly elapsedMs: number
  /** Processor time of the contender's process, in user and system mode, on all threads. */
  readonly cpuMs: number
  /** What `INFO commandstats` counted meanwhile. */
  readonly commands: number
  /** `undefined` where the contender does not count them. */
  readonly roundTrips: number | undefined
  /** Resident memory before the process's first event. */
  readonly startBytes: number
  /** The most that the process has ever had. */
  readonly peakBytes: number
}

/** Runs something within a measurement, as a profiler does. */
export type Around = (work: () => Promise<void>) => Promise<void>

/**
 * Lets a contender handle `count` events, measures it, and checks that it did.
 *
 * @param url The server, without latency, for counting its commands.
 * @param startBytes Resident memory before the process's first event.
 * @param around Runs the measured part. Default: nothing around it.
 * @throws {Error} Not all events were handled, or some are not done for good.
 */
export async function measure(
  contender: Contender,
  url: string,
  round: string,
  count: number,
  startBytes: number,
  around: Around = (work) => work(),
): Promise<Measured> {
  let handled = 0
  const handle = async () => {
    handled++
  }
  await contender.prepare(round, count)
  handled = 0
  let elapsedMs = 0
  let cpu = { user: 0, system: 0 }
  const commands = await countCommands(url, () =>
    around(async () => {
      const startedAt = performance.now()
      const before = process.cpuUsage()
      await contender.consume(handle, count)
      cpu = process.cpuUsage(before)
      elapsedMs = performance.now() - startedAt
    }),
  )
  const peakBytes = process.resourceUsage().maxRSS * 1024
  expectEqual('events handled', handled, count)
  await contender.check(count)
  const cpuMs = (cpu.user + cpu.system) / 1_000
  return { count, elapsedMs, cpuMs, commands, roundTrips: contender.roundTrips, startBytes, peakBytes }
}
