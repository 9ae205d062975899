import { createClaimer, createPoller } from 'millrace'
import { checkAtColdStart, type Finding } from 'millrace/operate'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAclUsers, urlOf } from '../../infra/acl-users.ts'
import { billing, lambdaContext, type Scenario, startScenario } from '../../support/scenario.ts'

const consumer = billing(() => {})

function noting() {
  const lines: [level: string, message: string, fields: Record<string, unknown>][] = []
  // without the flaws of the server's own release, which is whichever is here
  const at = (level: string) => (message: string, fields: Record<string, unknown>) => {
    if (fields?.check !== 'version') lines.push([level, message, fields])
  }
  return { lines, logger: { info: at('info'), warn: at('warn'), error: at('error') } }
}

/** A server that nothing persists, with a stream that expires. */
async function ailing(): Promise<Scenario> {
  const scenario = await startScenario()
  await scenario.publish('o-1')
  await scenario.raw.expire('orders', 3_700)
  return scenario
}

describe('checkAtColdStart()', () => {
  test('logs errors and warnings at the end of the first invocation, and never again', async () => {
    const { redis } = await ailing()
    const { lines, logger } = noting()
    const found: Finding[] = []
    const options = { redis, logger, onFindings: (findings: readonly Finding[]) => void found.push(...findings) }
    const handler = createPoller(consumer, { redis }).use(checkAtColdStart(consumer, options))

    const report = await handler({}, lambdaContext())
    expect(report).toMatchObject({ read: 1, acked: 1 })
    expect(lines).toEqual([
      [
        'error',
        expect.stringMatching(/^The stream is gone in/),
        { check: 'expiry', stream: 'orders', fix: 'PERSIST orders' },
      ],
      ['warn', expect.stringMatching(/^No append-only file/), { check: 'persistence', fix: expect.any(String) }],
    ])
    expect(found.map(({ check }) => check)).toEqual(expect.arrayContaining(['expiry', 'persistence']))
    await handler({}, lambdaContext())
    expect(lines).toHaveLength(2)
  })

  test('waits for an invocation that does more than keep the function warm', async () => {
    const { redis } = await ailing()
    const { lines, logger } = noting()
    const handler = createPoller(consumer, { redis }).use(checkAtColdStart(consumer, { redis, logger }))

    await handler({ source: 'serverless-plugin-warmup' }, lambdaContext())
    expect(lines).toEqual([])
    await handler({}, lambdaContext())
    expect(lines).toHaveLength(2)
  })

  test('takes the remaining time for the function’s timeout', async () => {
    const { redis } = await startScenario()
    const { lines, logger } = noting()
    const handler = createPoller(consumer, { redis }).use(checkAtColdStart(consumer, { redis, logger }))

    await expect(handler({}, lambdaContext(8_000))).rejects.toMatchObject({ code: 'ERR_INVOCATION_TOO_SHORT' })
    expect(lines[0]).toMatchObject(['error', expect.stringMatching(/^The function's timeout, 8000 ms, is below/), {}])
  })

  test('says in one line what the least privileges do not let it see', async () => {
    const scenario = await startScenario()
    await createAclUsers(scenario.raw)
    const redis = scenario.connect(urlOf(scenario.server, 'orders-claimer'))
    const { lines, logger } = noting()
    const handler = createClaimer(consumer, { redis }).use(checkAtColdStart(consumer, { redis, logger }))

    await handler({}, lambdaContext())
    expect(lines).toEqual([
      [
        'info',
        expect.stringMatching(/^The server did not answer all: 7 checks/),
        { checks: expect.arrayContaining(['eviction']) },
      ],
    ])
  })

  test('waits for the next invocation where there is no time', async () => {
    const { redis } = await ailing()
    const { lines, logger } = noting()
    const brief = billing(() => {}, { handlerTimeoutMs: 100, reserveMs: 100 })
    const handler = createPoller(brief, { redis }).use(checkAtColdStart(brief, { redis, logger }))

    await handler({}, lambdaContext(550))
    expect(lines).toEqual([])
    await handler({}, lambdaContext())
    expect(lines.length).toBeGreaterThan(0)
  })

  test('neither fails nor holds up an invocation whose server does not answer any more', async () => {
    const scenario = await startScenario()
    const { lines, logger } = noting()
    const handler = createPoller(consumer, { redis: scenario.redis }).use([
      checkAtColdStart(consumer, { redis: scenario.redis, logger }),
      { after: () => scenario.server.kill('SIGSTOP') }, // runs first
    ])
    onTestFinished(() => scenario.server.kill('SIGCONT'))
    const started = performance.now()

    await expect(handler({}, lambdaContext())).resolves.toMatchObject({ read: 0 })
    expect(performance.now() - started).toBeLessThan(4_000)
    expect(lines).toEqual([['warn', expect.stringMatching(/^Cannot check at cold start: Cannot reach Redis/), {}]])
  })

  test('survives what onFindings throws', async () => {
    const { redis } = await startScenario()
    const { lines, logger } = noting()
    const onFindings = () => {
      throw new Error('full')
    }
    const handler = createPoller(consumer, { redis }).use(checkAtColdStart(consumer, { redis, logger, onFindings }))

    await handler({}, lambdaContext())
    expect(lines.at(-1)).toEqual(['warn', 'Cannot check at cold start: full', {}])
  })

  test('writes lines of JSON by default', async () => {
    const { redis } = await startScenario()
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    onTestFinished(() => warn.mockRestore())
    await createPoller(consumer, { redis }).use(checkAtColdStart(consumer, { redis }))({}, lambdaContext())

    const logged = warn.mock.calls.map(([line]) => JSON.parse(line as string) as { check: string })
    expect(logged.filter(({ check }) => check !== 'version')).toMatchObject([
      { level: 'WARN', check: 'persistence', message: expect.any(String), fix: expect.any(String) },
    ])
  })

  test.each([
    [{}, /redis must be a connection/],
    [{ redis: {}, often: true }, /unknown option "often"/],
  ])('refuses %j', (options, message) => {
    expect(() => checkAtColdStart(consumer, options as never)).toThrow(message)
  })
})
