import { runJanitor } from 'millrace/janitor'
import { connectMemory } from 'millrace/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { reportMetrics } from '../../src/observe/powertools/index.ts'
import { captureOutput, readMetricLine } from '../support/metric-lines.ts'
import { common, memoryArchive } from './keeper.ts'

const groups = { billing: { owner: 'team' } }
const ORDERS = { stream: 'orders', groups }
const RETURNS = { stream: 'returns', groups }

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

/** Streams `orders` and `returns` with so many entries that their group has done; an archive that takes a second for each range. */
async function twoStreams(orders: number, returns: number) {
  let passedMs = 0
  const redis = connectMemory()
  for (const [stream, entries] of [
    ['orders', orders],
    ['returns', returns],
  ] as const) {
    const { publish, read } = common(redis, stream)
    await publish(...Array.from({ length: entries }, (_, n) => `${n}`))
    await read('billing')
  }
  const stored = memoryArchive()
  const archive: typeof stored.archive = async (range, context) => {
    passedMs += 1_000
    await stored.archive(range, context)
  }
  const pass = (ms: number) => {
    passedMs += ms
  }
  return { redis, archive, stored, pass, clock: { ...systemClock, monotonic: () => passedMs } }
}

describe('streams of one janitor', () => {
  it.each([0, 0.99])('share the time: the backlog of one leaves the others theirs, drawn %d', async (lot) => {
    vi.spyOn(Math, 'random').mockReturnValue(lot)
    const { stored, redis, archive, clock } = await twoStreams(40, 3)

    const report = await runJanitor([ORDERS, RETURNS], { redis, archive, clock, rangeEntries: 1, remainingMs: 15_000 })

    expect(report.streams.map(({ stream, reached, drained }) => [stream, reached, drained])).toEqual([
      ['orders', true, false],
      ['returns', true, true],
    ])
    // what the small one leaves is the large one's
    expect(report.streams.map(({ trimmed }) => trimmed)).toEqual([7, 3])
    expect(await stored.ids()).toHaveLength(10)
  })

  it('each come first now and then, whichever archive does not answer', async () => {
    const { redis, archive, pass, clock } = await twoStreams(1, 1)
    const never = () => {
      pass(60_000)
      return new Promise(() => {})
    }
    const hasty = { ...clock, after: (_ms: number, end: () => void) => systemClock.after(1, end) }
    const run = async (lot: number) => {
      vi.spyOn(Math, 'random').mockReturnValue(lot)
      return runJanitor([{ ...ORDERS, archive: never }, RETURNS], { redis, archive, clock: hasty }).catch(
        (error: unknown) => error,
      )
    }

    expect(await run(0)).toMatchObject({ report: { streams: [{ reached: true }, { reached: false }] } })
    const failure = await run(0.99)

    expect(failure).toMatchObject({ failures: [{ stream: 'orders' }], report: { streams: [{}, { trimmed: 1 }] } })
  })

  it('that a run did not come to have no numbers', async () => {
    vi.stubEnv('POWERTOOLS_SERVICE_NAME', 'shop')
    const { redis } = await twoStreams(2, 1)
    const written = captureOutput()

    const report = await runJanitor(ORDERS, { redis, remainingMs: 4_000, observe: reportMetrics() })

    expect(report.streams).toMatchObject([{ reached: false, drained: false }])
    expect(written.map(readMetricLine)[0]?.metrics).toEqual({
      ArchivedEntryCount: 0,
      TrimmedEntryCount: 0,
      TrimmedAheadCount: 0,
    })
  })

  it('ask for each registry once', async () => {
    const { redis } = await twoStreams(2, 1)
    const keeping = redis.keeping
    const registered = vi.spyOn(keeping as NonNullable<typeof keeping>, 'registered')

    await runJanitor([ORDERS, RETURNS], { redis })

    expect(registered.mock.calls).toEqual([['orders'], ['returns']])
  })
})
