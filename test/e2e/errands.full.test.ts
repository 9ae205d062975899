import { setTimeout as delay } from 'node:timers/promises'
import type { Report } from 'millrace'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { wakePoller } from 'millrace/lambda'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { Errand } from './service/errand.ts'
import type { ErrandService, Note, PackagedErrands } from './start-service.ts'
import { packageErrands } from './start-service.ts'

const POLLER = 'errands-test-poller'
const CLAIMER = 'errands-test-claimer'

let errands: PackagedErrands

beforeAll(async () => {
  errands = await packageErrands()
}, 120_000)
afterAll(() => errands.remove())
afterEach(() => void vi.unstubAllEnvs())

/** Invokes a function and answers its report. */
async function invoke({ lambda }: ErrandService, name: string, event: object = {}): Promise<Report> {
  const { payload, functionError } = await lambda.invoke(name, event)
  if (functionError) throw new Error(JSON.stringify(payload))
  return payload as Report
}

const numbered = (count: number, takesMs = 0) => Array.from({ length: count }, (_, n) => ({ name: `e${n}`, takesMs }))
const namesOf = (notes: readonly Note[], event: Note['event']) =>
  notes.filter((note) => note.event === event).map(({ name }) => name)

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(10)
}

/** Lets claimers run, each as if a long time had passed, until nothing is pending. */
async function claimAll(service: ErrandService): Promise<void> {
  while ((await service.pending()) > 0) {
    await service.age()
    await service.lambda.invoke(CLAIMER)
  }
}

describe('the packaged functions in Lambda’s runtime client', () => {
  it('start cold, handle what was published, say so as metrics, and are warm the next time', async () => {
    const service = await errands.start()
    await service.publish(...numbered(3))

    expect(await invoke(service, POLLER)).toMatchObject({ action: 'poll', read: 3, acked: 3, drained: true })
    expect(await invoke(service, POLLER)).toMatchObject({ read: 0, drained: true })
    expect(await invoke(service, CLAIMER)).toMatchObject({ action: 'claim', claimed: 0, drained: true })

    expect(service.runs.map(({ initMs }) => initMs !== undefined)).toEqual([true, false, true])
    const emf = service.log.flatMap((line) => (line.startsWith('{"_aws"') ? [JSON.parse(line)] : []))
    const dimensions = { service: 'errands-test', EventSource: 'errands', ConsumerGroup: 'runner' }
    expect(emf).toMatchObject([
      { ...dimensions, PolledEventCount: 3, DeletedEventCount: 3 },
      { ...dimensions, EventType: 'Errand', InvokedEventCount: 3, DeletedEventCount: 3 },
      { ...dimensions, PolledEventCount: 0 },
      { ...dimensions, ClaimedEventCount: 0, PendingEntries: 0, Lag: 0 },
    ])
  })

  it('handle every entry once when schedules overlap and their events come twice', async () => {
    const service = await errands.start()
    await service.publish(...numbered(100, 20))

    service.lambda.tick() // two schedules of the poller, one of the claimer
    service.lambda.tick()
    await service.lambda.idle()

    const notes = await service.diary()
    expect(namesOf(notes, 'done').toSorted()).toEqual(
      numbered(100)
        .map(({ name }) => name)
        .toSorted(),
    )
    expect(notes.every(({ consumerName }) => /^poller-[0-3]$/.test(consumerName))).toBe(true)
    expect(service.runs.filter(({ functionError }) => functionError)).toEqual([])
    expect([await service.pending(), await service.raw.keys('*:slot:*')]).toEqual([0, []])
  })

  it.each([
    ['a timeout in mid-batch', 'loop', 'Sandbox.Timedout'],
    ['a lack of memory', 'memory', 'Runtime.ExitError'],
  ] as const)(
    'lose nothing by %s: what caused it becomes a dead letter, and its neighbours are handled',
    async (_what, death, errorType) => {
      const service = await errands.start()
      const neighbours = numbered(9)
      await service.publish(...neighbours.slice(0, 4), { name: 'poison', death }, ...neighbours.slice(4))

      const { functionError, payload } = await service.lambda.invoke(POLLER)
      await claimAll(service)

      expect([functionError, payload]).toMatchObject(['Unhandled', { errorType }])
      const notes = await service.diary()
      expect([...new Set(namesOf(notes, 'done'))].toSorted()).toEqual(neighbours.map(({ name }) => name))
      expect(namesOf(notes, 'started').filter((name) => name === 'poison')).toHaveLength(2)
      expect(await service.deadLetters()).toMatchObject([{ reason: 'crashed', deliveryCount: '2' }])
      expect(await service.raw.xlen('{errands}:runner:dlq')).toBe(1)
    },
  )

  it('go on at once after a freeze in which their connection was closed', async () => {
    const service = await errands.start()
    await invoke(service, POLLER)
    const [frozen] = service.lambda.environments(POLLER)
    await service.raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await service.publish(...numbered(5))

    expect([frozen?.state, await invoke(service, POLLER)]).toMatchObject(['frozen', { read: 5, acked: 5 }])
    expect(service.lambda.environments(POLLER)).toMatchObject([{ pid: frozen?.pid, served: 2 }])
  })

  it("go on within a connection's limits after a freeze in which it silently died", async () => {
    const service = await errands.start({ timeoutMs: 10_000 })
    await invoke(service, POLLER)
    service.proxy.freezeLinks()
    await service.publish(...numbered(5))

    expect(await invoke(service, POLLER)).toMatchObject({ read: 5, acked: 5 })
    expect(service.runs.at(-1)?.durationMs).toBeLessThan(5_000)
  })

  it('are throttled beyond their reserved concurrency, and the schedules’ events wait for their turn', async () => {
    const service = await errands.start({ reservedConcurrency: 1 })
    await service.publish(...numbered(10, 300))
    const first = invoke(service, POLLER)

    await expect(service.lambda.invoke(POLLER)).rejects.toMatchObject({ name: 'TooManyRequestsException' })
    service.lambda.tick()
    await first
    await service.lambda.idle()

    expect(service.lambda.environments(POLLER)).toHaveLength(1)
    expect(namesOf(await service.diary(), 'done')).toHaveLength(10)
  })

  it('are woken by what is published, once, and need no schedule', async () => {
    const service = await errands.start()
    for (const [name, value] of [
      ['AWS_ENDPOINT_URL_LAMBDA', service.lambda.url],
      ['AWS_REGION', 'us-east-1'],
      ['AWS_ACCESS_KEY_ID', 'none'],
      ['AWS_SECRET_ACCESS_KEY', 'none'],
    ] as const)
      vi.stubEnv(name, value)
    const redis = connectIoredis(service.server.url)
    const wake = wakePoller({ group: 'runner', functionName: POLLER, windowMs: 60_000 })
    const publisher = createPublisher({ stream: 'errands', redis, wake })

    for (const errand of numbered(3)) await publisher.publish(Errand, errand)
    await until(async () => namesOf(await service.diary(), 'done').length === 3)
    await service.lambda.idle()
    expect(service.runs).toMatchObject([{ type: 'Event', functionName: POLLER }])

    await publisher.publish(Errand, { name: 'later' })
    await until(async () => namesOf(await service.diary(), 'done').includes('later'))
    await redis.close()
  })

  it.each(['listen', 'wake'] as const)('retry to the second by the default back-off: %s', async (by) => {
    const service = await errands.start({}, { by, timeoutMs: 30_000 })
    await service.publish({ name: 'fails', fails: true })
    void service.lambda.invoke(POLLER).catch(() => {})
    await until(async () => (await service.deadLetters()).length === 1)

    const starts = (await service.diary()).map(({ at = 0 }) => at)
    const waits = starts.slice(1).map((at, n) => at - (starts[n] as number))
    expect(waits).toHaveLength(4)
    for (const [n, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(800 * 2 ** n)
      expect(wait).toBeLessThanOrEqual(1_200 * 2 ** n + 2_000)
    }
    if (by === 'wake') expect(service.runs.length).toBeLessThanOrEqual(2)
  })

  it('scale out to four slots for a backlog, and back', async () => {
    const service = await errands.start({ timeoutMs: 30_000 })
    await service.publish(...numbered(400, 150))

    expect(await invoke(service, POLLER)).toMatchObject({ scaledOut: 3 })
    await service.lambda.idle()

    const notes = await service.diary()
    expect(namesOf(notes, 'done').toSorted()).toEqual(
      numbered(400)
        .map(({ name }) => name)
        .toSorted(),
    )
    expect([...new Set(notes.map(({ consumerName }) => consumerName))].toSorted()).toEqual([
      'poller-0',
      'poller-1',
      'poller-2',
      'poller-3',
    ])
    expect([service.runs.length, await service.raw.keys('*:slot:*')]).toEqual([4, []])

    await service.publish(...numbered(5))
    expect(await invoke(service, POLLER)).toMatchObject({ acked: 5, scaledOut: 0 })
    await service.lambda.idle()
    expect(service.runs).toHaveLength(5)
  })

  it('go on where their time was up, invocation after invocation, until the backlog is done', async () => {
    const service = await errands.start({ timeoutMs: 2_000, reservedConcurrency: 1 })
    await service.publish(...numbered(60, 200))

    await invoke(service, POLLER)
    await service.lambda.idle()
    await claimAll(service)

    const polls = service.runs.filter(({ functionName }) => functionName === POLLER)
    expect(polls.length).toBeGreaterThan(2)
    expect(polls.filter(({ functionError }) => functionError)).toEqual([])
    expect(new Set(namesOf(await service.diary(), 'done')).size).toBe(60)
  })

  it('are deployed anew while the old version finishes what it holds', async () => {
    const service = await errands.start({ timeoutMs: 30_000 })
    await service.publish(...numbered(10, 700))
    const old = invoke(service, POLLER)
    await until(async () => (await service.diary()).length === 10)

    const { poller } = service.functions
    await service.lambda.deploy({ ...poller, environment: { ...poller.environment, VERSION: '2' } })
    await service.publish({ name: 'between' }) // for whichever of them is first
    const reports = [await invoke(service, POLLER), await old]
    await service.publish({ name: 'new' })
    reports.push(await invoke(service, POLLER))

    expect(reports.reduce((sum, { acked }) => sum + acked, 0)).toBe(12)
    const done = (await service.diary()).filter(({ event }) => event === 'done')
    expect(done.filter(({ name }) => name === 'new')).toMatchObject([{ version: '2' }])
    const held = done.filter(({ name }) => /^e\d$/.test(name))
    expect([held.length, held.every(({ version }) => version === '1')]).toEqual([10, true])
    expect(service.lambda.environments(POLLER)).toMatchObject([{ deployment: 2 }])
  })
})
