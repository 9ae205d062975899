import { expect, test } from 'vitest'
import { functionOutputLine, invocationLine } from '../../src/cli/invocation-line.ts'
import type { LocalInvocationReport } from '../../src/local/definitions.ts'

function aReport(report: Partial<LocalInvocationReport>): LocalInvocationReport {
  return {
    functionName: 'poller',
    requestId: 'r-1',
    type: 'Event',
    attempt: 1,
    payload: 'null',
    durationMs: 12.4,
    maxMemoryMb: 80,
    ...report,
  }
}

test.each<[string, Partial<LocalInvocationReport>, string]>([
  [
    'counts other than 0, and what is true',
    {
      payload:
        '{"read":3,"claimed":0,"acked":3,"roundTrips":2,"drained":true,"noFreeSlot":false,"held":true,"durationMs":9,"consumers":[]}',
    },
    'poller: read 3, acked 3, held (12 ms)',
  ],
  ['nothing', { payload: '{"read":0,"drained":true}' }, 'poller: nothing to do (12 ms)'],
  ['what is no report', { payload: '"text"' }, 'poller: done (12 ms)'],
  ['a cold start and a retry', { initMs: 98.6, attempt: 2 }, 'poller: done (12 ms, init 99 ms, attempt 2)'],
  [
    'a failure',
    { functionError: 'Unhandled', payload: '{"errorType":"RangeError","errorMessage":"too far"}' },
    'poller: failed: RangeError: too far (12 ms)',
  ],
])('an invocation says %s', (_case, report, line) => {
  expect(invocationLine(aReport(report))).toBe(line)
})

test('what is killed when millrace dev stops has not failed', () => {
  const killed = aReport({
    functionError: 'Unhandled',
    payload: '{"errorType":"Runtime.ExitError","errorMessage":"Runtime exited with error: signal: killed"}',
  })
  const failed = aReport({ functionError: 'Unhandled', payload: '{"errorType":"Error","errorMessage":"no"}' })

  expect(invocationLine(killed, { isStopping: true })).toBe('poller: stopped (12 ms)')
  expect(invocationLine(killed)).toMatch(/^poller: failed: Runtime.ExitError: /)
  expect(invocationLine(failed, { isStopping: true })).toBe('poller: failed: Error: no (12 ms)')
})

test.each<['stdout' | 'platform', string, string | undefined]>([
  ['stdout', 'hello', '  poller | hello'],
  ['stdout', '2026-11-24T08:00:00.000Z\tr-1\tINFO\thello\tworld', '  poller | INFO hello\tworld'],
  ['stdout', 'START of the day', '  poller | START of the day'],
  ['platform', 'REPORT RequestId: r-1', undefined],
  ['platform', '2026 r-1 Task timed out after 1.00 seconds', '  poller | 2026 r-1 Task timed out after 1.00 seconds'],
  ['stdout', '{"_aws":{"Timestamp":1},"PolledEventCount":0}', undefined],
  ['stdout', '{"level":"INFO","message":"Claim done","acked":1}', undefined],
  [
    'stdout',
    '{"level":"WARN","message":"Poll needs a look: lost"}',
    '  poller | {"level":"WARN","message":"Poll needs a look: lost"}',
  ],
])('of what %s writes, %j is printed as %j', (source, text, line) => {
  expect(functionOutputLine({ functionName: 'poller', source, text })).toBe(line)
})
