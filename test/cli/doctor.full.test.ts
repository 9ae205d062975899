import { poll } from 'millrace'
import { diagnose, type Finding } from 'millrace/operate'
import { describe, expect, test } from 'vitest'
import { billing, DLQ, type Scenario, startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

const MODULE = 'functions/orders/consumer.ts'

/** A server on which nothing is wrong with the sample's consumer. */
async function healthy(): Promise<Scenario> {
  const scenario = await startScenario({ server: { args: ['--appendonly', 'yes'] } })
  await scenario.publish('o-1')
  await poll(
    billing(() => {}),
    { redis: scenario.redis },
  )
  return scenario
}

/** How many warnings there are of the server's own release, which is whichever is here. */
async function flawsOf({ redis }: Scenario): Promise<number> {
  const found = await diagnose([], { redis, streams: ['orders'] })
  return found.filter(({ check, severity }) => check === 'version' && severity === 'warning').length
}

async function doctor({ server }: Scenario, ...args: string[]) {
  const run = millrace(['doctor', ...args, '--redis', server.url])
  return { code: await run.exit, lines: run.lines, text: run.lines.join('\n') }
}

describe('millrace doctor', () => {
  test('ends with 0 where nothing is wrong with a module’s consumers', async () => {
    const scenario = await healthy()
    const { code, lines } = await doctor(scenario, MODULE, '--timeout', '55')

    const isSound = (await flawsOf(scenario)) === 0
    expect(lines.at(-1)).toBe(isSound ? '0 errors, 0 warnings' : '0 errors, 1 warning')
    expect(lines.filter((line) => /^(Errors|Warnings)/.test(line))).toEqual(isSound ? [] : ['Warnings (1)'])
    expect(code).toBe(isSound ? 0 : 3)
  })

  test('ends with 3 where there are warnings, each with its fix', async () => {
    const scenario = await healthy()
    await scenario.raw.xadd(DLQ, '*', 'a', 'b')
    const { code, lines } = await doctor(scenario, MODULE)

    const at = lines.indexOf('    Fix: millrace dlq ls --stream orders --group billing; then redrive or drop them')
    expect([lines[0], lines[at - 1]]).toEqual([
      `Warnings (${1 + (await flawsOf(scenario))})`,
      expect.stringMatching(/^ {2}dead-letters orders\/billing: 1 dead letter in "\{orders\}:billing:dlq"/),
    ])
    expect(code).toBe(3)
  })

  test('ends with 1 where there is an error, the worst first', async () => {
    const scenario = await healthy()
    await scenario.raw.xadd(DLQ, '*', 'a', 'b')
    const { code, lines } = await doctor(scenario, MODULE, '--timeout', '5')

    expect(lines.filter((line) => /^(Errors|Warnings) \(\d+\)$/.test(line))).toEqual([
      'Errors (1)',
      `Warnings (${1 + (await flawsOf(scenario))})`,
    ])
    expect(lines[1]).toMatch(/^ {2}timeouts orders\/billing: The function's timeout, 5000 ms/)
    expect(code).toBe(1)
  })

  test('inspects a stream without a module, and one group of it', async () => {
    const scenario = await healthy()
    await scenario.raw.xgroup('CREATE', 'orders', 'search', '0')
    await scenario.raw.xadd(DLQ, '*', 'a', 'b')

    expect((await doctor(scenario, '--stream', 'orders')).text).toContain('dead-letters orders/billing')
    const { lines } = await doctor(scenario, '--stream', 'orders', '--group', 'search')
    expect(lines.filter((line) => line.includes('dead-letters'))).toEqual([])
  })

  test('says which names there are where those that were typed are not there', async () => {
    const scenario = await healthy()

    expect((await doctor(scenario, '--stream', 'orders', '--group', 'biling')).text).toContain(
      'Fix: poll, or compare the name: the stream has "billing"',
    )
    expect((await doctor(scenario, '--stream', 'jobs')).text).toContain('a set of streams needs --priorities, too')
  })

  test.each([
    ['a wrong password', ':wrong@', /^millrace doctor: WRONGPASS/],
    ['no password', '', /^millrace doctor: NOAUTH/],
  ])('ends with 1 where the server refuses everything, as for %s', async (_what, password, line) => {
    const { server } = await startScenario({ server: { args: ['--requirepass', 'right'] } })
    const run = millrace(['doctor', MODULE, '--redis', `redis://${password}${server.host}:${server.port}`])

    expect(await run.exit).toBe(1)
    expect(run.lines).toEqual([expect.stringMatching(line)])
  })

  test('shows names of others without what they would do to a terminal', async () => {
    const scenario = await healthy()
    await scenario.raw.xgroup('CREATE', 'orders', 'a\u001B[2J\u009Bb', '0')
    const { lines, text } = await doctor(scenario, MODULE)
    const json = (await doctor(scenario, MODULE, '--json')).text

    expect(lines).toContainEqual(expect.stringMatching(/XGROUP DESTROY orders 'a\\u\{1b\}\[2J\\u\{9b\}b'$/))
    expect(`${text}${json}`).not.toMatch(/(?!\n)\p{Cc}/u)
  })

  test('--json prints the findings', async () => {
    const scenario = await healthy()
    await scenario.raw.expire('orders', 3_700)
    const { code, text } = await doctor(scenario, MODULE, '--json')
    const [first] = JSON.parse(text) as Finding[]

    expect(first).toEqual({
      check: 'expiry',
      severity: 'error',
      stream: 'orders',
      message: expect.stringContaining('gone in 1 h'),
      fix: 'PERSIST orders',
    })
    expect(code).toBe(1)
  })

  test.each<[string, string[], RegExp]>([
    ['--help names the exit codes', ['--help'], /^Ends with 0 where nothing is worse than info, 1 where/],
    ['nothing to inspect is wrong usage', [], /^millrace doctor: name a MODULE or a --stream$/],
    ['--timeout takes seconds', ['--timeout', 'long'], /--timeout must be a number of seconds, .* got "long"$/],
    ['--pollers takes a number', ['--pollers', '0'], /--pollers must be a whole number from 1, got "0"$/],
    [
      '--target-timeout takes TYPE=SECONDS',
      ['--target-timeout', '5'],
      /--target-timeout must be TYPE=SECONDS, got "5"$/,
    ],
    ['an unknown option is wrong usage', ['--fast'], /^millrace doctor: Unknown option '--fast'/],
  ])('%s', async (_title, args, line) => {
    const run = millrace(['doctor', ...args], { env: { ...process.env, REDIS_URL: 'redis://127.0.0.1:1' } })

    await run.printed(line)
    expect(await run.exit).toBe(args[0] === '--help' ? 0 : 2)
  })
})
