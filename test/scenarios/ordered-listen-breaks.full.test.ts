import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { createPoller, createPublisher, NonRetryableError, poll } from 'millrace'
import { connect as connectUrl } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { redriveDeadLetters } from 'millrace/operate'
import { describe, expect, it, onTestFinished, test, vi } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startRestServer } from '../support/rest-server.ts'
import { difference, lambdaContext, type Scenario, startScenario } from '../support/scenario.ts'
import { delay, publishing, Stepped, Steps, startPoll, stepping } from '../support/steps.ts'

/** Milliseconds within which somebody listens again, whatever happened. */
const AGAIN_MS = 2_000

const SLOT = '{orders}:billing:slot:poller-0'

/** Waits until a poller waits at the bell. */
async function listens({ raw }: Scenario): Promise<void> {
  await vi.waitUntil(async () => /flags=\S*b/.test(String(await raw.client('LIST'))), { timeout: 5_000, interval: 5 })
}

function clientAtBell(clients: string): string {
  const [, id = ''] = /id=(\d+) [^\n]*flags=\S*b/.exec(clients) ?? []
  return id
}

/** What requests hold that no other has. */
const SETTLEMENT = '{orders}:billing:waiting\r\n$22\r\n{orders}:billing:state\r\n$22\r\n{orders}:billing:lanes'
const LOST = [
  ['a read', 'xreadgroup\r\n$5\r\nGROUP'],
  ['a read that inspects what is pending first', '{orders}:billing:waiting\r\n$21\r\n{orders}:billing:wake'],
  ['a settlement', SETTLEMENT],
  ['the question for lanes', 'orders\r\n$22\r\n{orders}:billing:lanes'],
  ['the bell', 'xread\r\n'],
] as const

/** How often a client sends a request. */
const ATTEMPTS = 3

const failingOnce =
  (which: number) =>
  (_key: string, step: number, { deliveryCount }: { deliveryCount: number }) => {
    if (step === which && deliveryCount === 1) throw new Error('once')
  }

const BREAKS: Readonly<Record<string, (scenario: Scenario) => Promise<unknown>>> = {
  'all connections are cut': ({ raw }) =>
    raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes') as Promise<unknown>,
  'the group is destroyed': ({ raw }) => raw.xgroup('DESTROY', 'orders', 'billing') as Promise<unknown>,
  'the stream is deleted': ({ raw }) => raw.del('orders'),
  'everything is flushed': ({ raw }) => raw.flushall(),
  'the group is set back': ({ raw }) => raw.xgroup('SETID', 'orders', 'billing', '0') as Promise<unknown>,
  'a wait is unblocked by hand': async ({ raw }) =>
    raw.client('UNBLOCK', Number(clientAtBell(String(await raw.client('LIST')))), 'ERROR'),
}

describe('an ordered poller that listens', () => {
  it.each(Object.entries(BREAKS))('listens again, in order: %s', async (_what, breakIt) => {
    const scenario = await startScenario()
    const steps = new Steps()
    const { end } = startPoll(stepping(steps), { redis: scenario.redis })
    const publish = publishing(scenario.redis)
    await publish('a1')
    await steps.until('a', 1, AGAIN_MS)
    await listens(scenario)
    await breakIt(scenario)
    await delay(10)
    await publish('a2', 'a3')
    await steps.until('a', 3, AGAIN_MS)

    expect([difference(await end()), steps.outOfOrder]).toEqual([0, []])
    expect(await scenario.pending()).toEqual([])
  })

  it.each(LOST)('goes on in order though the answer to %s is lost, once or each time', async (_what, match) => {
    for (const times of [1, ATTEMPTS]) {
      const scenario = await startScenario()
      const proxy = await startFaultProxy(scenario.server)
      const steps = new Steps(failingOnce(2))
      const { end } = startPoll(stepping(steps), { redis: scenario.connect(proxy.url) })
      const publish = publishing(scenario.redis)
      await publish('a1')
      await steps.until('a', 1, AGAIN_MS)
      await listens(scenario)
      const cuts = Array.from({ length: times }, () => proxy.cutAfter(match))
      for (let step = 2; step <= 12; step++) {
        await publish(`a${step}`)
        await delay(30)
      }
      await Promise.all(cuts)
      await steps.until('a', 12, 8_000)

      await end().catch(() => {})
      expect(steps.outOfOrder).toEqual([])
      expect(await scenario.pending()).toEqual([])
      await proxy.close()
    }
  })

  it('gives what a read brought first that was sent again, also where it drains', async () => {
    const scenario = await startScenario()
    const proxy = await startFaultProxy(scenario.server)
    let cut: Promise<void> | undefined
    const steps = new Steps(() => {
      cut ??= proxy.cutAfter(LOST[0][1])
    })
    const consumer = stepping(steps, { mode: 'drain', batchSize: 1 })
    await publishing(scenario.redis)('a1', 'a2', 'a3', 'a4')

    const report = await poll(consumer, { redis: scenario.connect(proxy.url) })

    await cut
    expect([report.acked, steps.done('a'), steps.outOfOrder]).toEqual([4, 4, []])
    await proxy.close()
  })

  it('lets a settlement that is carried out late change nothing', async () => {
    const scenario = await startScenario()
    const proxy = await startFaultProxy(scenario.server)
    const redis = connectIoredis(proxy.url, { commandTimeout: 400 })
    onTestFinished(() => redis.close())
    const counts: number[] = []
    const steps = new Steps(async (_key, step, { deliveryCount }) => {
      failingOnce(1)('a', step, { deliveryCount })
      if (step === 2) counts.push(deliveryCount)
      if (step === 2) await held.then(({ release }) => release()).then(() => delay(300))
    })
    const held = proxy.pauseOn(SETTLEMENT)
    const { end } = startPoll(stepping(steps), { redis })
    await publishing(scenario.redis)('a1', 'a2', 'a3')
    await steps.until('a', 3, 10_000)

    await end().catch(() => {})
    expect([steps.outOfOrder, counts]).toEqual([[], [1]])
    expect(await scenario.pending()).toEqual([])
    await proxy.close()
  })

  it('a server that is away for a second fails no invocation, and costs no slot', async () => {
    const scenario = await startScenario()
    const proxy = await startFaultProxy(scenario.server)
    const steps = new Steps()
    const { end } = startPoll(stepping(steps), { redis: scenario.connect(proxy.url) })
    const publish = publishing(scenario.redis)
    await listens(scenario)
    proxy.stall()
    await publish('a1')
    await delay(1_500)
    proxy.severAll()
    proxy.resume()
    await publish('a2')
    await steps.until('a', 2, 4_000)

    expect(await end()).toMatchObject({ acked: 2 })
    expect(steps.outOfOrder).toEqual([])
    await proxy.close()
  })

  it('takes its slot again though the answers to giving and taking it are lost', async () => {
    const scenario = await startScenario()
    const proxy = await startFaultProxy(scenario.server)
    const steps = new Steps()
    const { end } = startPoll(stepping(steps), { redis: scenario.connect(proxy.url) })
    await listens(scenario)
    const lost = (cut: (match: string) => Promise<void>, match: string, times: number) =>
      Promise.all(Array.from({ length: times }, () => cut(match)))
    // it tries twice
    const given = lost(proxy.cutBefore, '{orders}:billing:state\r\n$21\r\n{orders}:billing:wake', 2 * ATTEMPTS)
    await BREAKS['a wait is unblocked by hand']?.(scenario)
    await given
    await lost(proxy.cutAfter, '{orders}:billing:wake\r\n$6\r\norders', ATTEMPTS)
    await publishing(scenario.redis)('a1')
    await steps.until('a', 1, 6_000)

    expect((await end()).acked).toBe(1)
    await proxy.close()
  })

  it('waits for the slot once that went to another, and takes over when that one ends', async () => {
    const scenario = await startScenario()
    const steps = new Steps()
    const { end } = startPoll(stepping(steps), { redis: scenario.redis })
    await listens(scenario)
    await scenario.raw.set(SLOT, 'other', 'PX', 60_000)
    const publish = publishing(scenario.redis)
    await publish('a1')
    await delay(1_500)
    expect(steps.starts).toEqual([])
    await scenario.raw.del(SLOT)
    await steps.until('a', 1, AGAIN_MS)

    expect([difference(await end()), await scenario.pending()]).toEqual([0, []])
  })

  it('takes over from one that was killed, from the first unsettled entry of each key', async () => {
    const scenario = await startScenario()
    const publish = publishing(scenario.redis)
    await publish(...Array.from({ length: 10 }, (_, n) => [`a${n + 1}`, `b${n + 1}`]).flat())
    const victim = new URL('../support/listening-victim.ts', import.meta.url).pathname
    const child = spawn('node', [victim, JSON.stringify({ url: scenario.server.url })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const ended = new Map<string, number>()
    const closed = once(child, 'close')
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [what, key = '', step] = line.split(' ')
      if (what === 'ends') ended.set(key, Number(step))
      // a lane stands by then, and the middle of it runs
      if (line === 'starts a 5') child.kill('SIGKILL')
    })
    await closed
    await scenario.raw.pexpire(SLOT, 1_500)
    const freeAt = performance.now() + 1_500
    const steps = new Steps()
    const heard: string[] = []
    const consumer = stepping({
      handle: async (event, context) => {
        const { key, step } = event.payload as { key: string; step: number }
        heard.push(`${key}${step}`)
        if (key !== 'z') ended.set(key, step)
        await steps.handle(event, context)
      },
    })
    const before = new Map(ended)
    const { end } = startPoll(consumer, { redis: scenario.redis })
    await publish('a11', 'b11', 'z1')
    await steps.until('z', 1, 1_500 + 1_000 + AGAIN_MS)
    const firstAt = steps.starts[0]?.at ?? 0
    await vi.waitUntil(
      async () => ((await scenario.raw.xpending('orders', 'billing')) as [number])[0] === 0 || (await suspectsTaken()),
      { timeout: 10_000, interval: 100 },
    )

    async function suspectsTaken(): Promise<boolean> {
      const { claimOnce } = await import('../support/claim-once.ts')
      await claimOnce(consumer, { redis: scenario.redis, remainingMs: 10_000 })
      return false
    }

    await end()
    expect(firstAt - freeAt).toBeLessThan(1_000 + 500)
    for (const key of ['a', 'b']) {
      const of = heard.filter((one) => one.startsWith(key)).map((one) => Number(one.slice(1)))
      const from = of[0] ?? 0
      expect(of).toEqual(Array.from({ length: 11 - from + 1 }, (_, n) => from + n))
      expect(from).toBeLessThanOrEqual((before.get(key) ?? 0) + 1)
    }
  }, 40_000)

  it('starts a redriven letter before what follows of its key, without waiting for its end', async () => {
    const { redis } = await startScenario()
    let isBroken = true
    const steps = new Steps((_key, step) => {
      if (step === 1 && isBroken) throw new NonRetryableError('never')
    })
    const consumer = stepping(steps)
    const { end } = startPoll(consumer, { redis })
    const publish = publishing(redis)
    await publish('a1')
    await vi.waitUntil(() => steps.starts.length === 1, { timeout: AGAIN_MS, interval: 5 })
    isBroken = false
    await delay(300)
    await redriveDeadLetters(consumer, { redis, all: true })
    await steps.until('a', 1, 5_000)
    await publish('a2')
    await steps.until('a', 2, AGAIN_MS)

    expect([difference(await end()), steps.outOfOrder]).toEqual([0, []])
  })
})

describe('an ordered poller that listens, beside others', () => {
  it('has publishers wake nobody while it listens, and somebody afterwards', async () => {
    const scenario = await startScenario()
    const woken: number[] = []
    const wake = { group: 'billing', windowMs: 50, wake: async () => void woken.push(1), onError: () => {} }
    const publisher = createPublisher({ stream: 'orders', redis: scenario.redis, wake })
    const steps = new Steps()
    const { ended } = startPoll(stepping(steps), { redis: scenario.redis, remainingMs: 6_000 })
    await listens(scenario)
    for (let step = 1; step <= 10; step++) {
      await publisher.publish(Stepped, { key: 'a', step }, { aggregateId: 'a' })
      await delay(100)
    }
    expect(woken).toEqual([])
    await ended
    expect([steps.done('a'), steps.outOfOrder]).toEqual([10, []])
    await publisher.publish(Stepped, { key: 'a', step: 11 }, { aggregateId: 'a' })
    expect(woken).toEqual([1])
  })

  it('listens for lingerMs after its last entry once it was woken', async () => {
    const { redis } = await startScenario()
    const steps = new Steps()
    const poller = createPoller(stepping(steps, { mode: 'drain', lingerMs: 600 }), { redis })
    const publish = publishing(redis)
    await publish('a1')
    const startedAt = performance.now()
    const polling = poller({ millrace: { hop: 0 } }, lambdaContext(20_000))
    await steps.until('a', 1, AGAIN_MS)
    await delay(300)
    await publish('a2')
    const report = await polling

    expect(report).toMatchObject({ acked: 2, drained: true })
    expect(performance.now() - startedAt).toBeGreaterThan(850)
    expect((await poller({}, lambdaContext(20_000))).durationMs).toBeLessThan(500)
  })
})

test('an idle ordered poller that listens asks at most once a second over REST', async () => {
  const { server } = await startScenario()
  const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
  const redis = connectUrl(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  const steps = new Steps()
  const { end } = startPoll(stepping(steps), { redis })
  await delay(2_500)
  const { requests } = rest
  await delay(3_000)
  expect(rest.requests - requests).toBeLessThanOrEqual(3)
  await publishing(redis)('a1')
  await steps.until('a', 1, 1_200)

  expect(await end()).toMatchObject({ acked: 1 })
})
