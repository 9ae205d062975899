import { runJanitor } from 'millrace/janitor'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { captureOutput, readMetricLine } from '../support/metric-lines.ts'
import { memoryArchive, startWorld } from './keeper.ts'

const ORDERS = { stream: 'orders', groups: { billing: { owner: 'team' } } }

beforeEach(() => vi.stubEnv('POWERTOOLS_SERVICE_NAME', 'shop'))

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

describe('a janitor’s run', () => {
  it('is a line of metrics for each stream, with the report’s numbers', async () => {
    const { redis, publish, read, trimByHand } = await startWorld('memory')
    await publish('a', 'b')
    await read('billing')
    await publish('c', 'd')
    const { archive } = memoryArchive()
    const written = captureOutput()

    await runJanitor(ORDERS, { redis, archive, observe: reportMetrics() })
    await trimByHand(0)
    await runJanitor(ORDERS, { redis, archive, observe: reportMetrics() })

    const [first, second] = written.map(readMetricLine)
    expect(first?.dimensions).toEqual({ service: 'shop', EventSource: 'orders' })
    expect(first?.metrics).toEqual({
      ArchivedEntryCount: 2,
      TrimmedEntryCount: 2,
      TrimmedAheadCount: 0,
      StreamLength: 2,
      UnregisteredGroups: 0,
      BlockedDuration: expect.any(Number),
    })
    expect(first?.units).toMatchObject({ BlockedDuration: 'Milliseconds', TrimmedEntryCount: 'Count' })
    expect(second?.metrics).toMatchObject({ TrimmedEntryCount: 0, TrimmedAheadCount: 1, StreamLength: 0 })
  })

  it('that fails is counted, and logged without a payload', async () => {
    const { redis, publish, read } = await startWorld('memory')
    await publish('secret')
    await read('billing')
    const written = captureOutput()
    const lines: unknown[] = []
    const log = (level: string) => (message: string, fields: object) => void lines.push([level, message, fields])
    const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
    const observe = [reportMetrics(), reportLogs(logger as never)]
    const archive = async () => {
      throw new Error('the bucket is gone')
    }

    await expect(runJanitor(ORDERS, { redis, archive, observe })).rejects.toThrow('the bucket is gone')
    await runJanitor({ stream: 'orders' }, { redis, observe })

    expect(written.map(readMetricLine)[0]?.metrics).toMatchObject({ JanitorErrorCount: 1, TrimmedEntryCount: 0 })
    expect(lines).toMatchObject([
      ['error', 'Trim failed', { failures: [{ stream: 'orders', message: 'the bucket is gone' }] }],
      ['info', 'Trim done', { trimmed: 1 }],
    ])
    expect(JSON.stringify(lines) + written.join()).not.toContain('secret')
  })
})
