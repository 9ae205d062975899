import { createPublisher } from 'millrace'
import { expect, onTestFinished, test } from 'vitest'
import { createRandom } from '../../demo/random.ts'
import type { Fate, Received } from '../../demo/webhooks/merchants.ts'
import { SECRET, startMerchants } from '../../demo/webhooks/merchants.ts'
import { acknowledgeWithEffectsScript } from '../../dist/group/redis/scripts/effects.js'
import { WebhookDue } from '../../functions/events/webhooks.ts'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startSystem } from './kit/start-system.ts'

/** In a whole run a thousand; a part of it elsewhere. */
const EVENTS = process.env.MILLRACE_SYSTEMS === 'whole' ? 1_000 : 120
const TIMEOUT_MS = 500
const GROUP = { stream: 'webhooks', group: 'delivery' }
const FUNCTIONS = ['poller', 'claimer'].map((name) => `functions/webhooks/${name}.ts`)

/** What each merchant does with a request. */
const MERCHANTS: Readonly<Record<string, (received: Received) => Fate>> = {
  good: () => 200,
  better: () => 204,
  flaky: ({ attempt }) => (attempt === 1 ? 500 : 200),
  slow: ({ attempt }) => (attempt === 1 ? 'hang' : 200),
  forgetful: ({ attempt }) => (attempt === 1 ? 'drop' : 200),
  busy: ({ attempt }) => (attempt === 1 ? { status: 429, headers: { 'retry-after': '2' } } : 202),
  refusing: () => 400,
  moved: () => ({ status: 308, headers: { location: 'http://127.0.0.1:1/' } }),
  gone: () => 410,
}
const NAMES = Object.keys(MERCHANTS)
const REFUSE = ['refusing', 'moved', 'inside', 'nowhere']

/** Where the process is killed: at a merchant that was asked and has not done it, or has and not answered; ahead of the acknowledgement of what was answered, or of its answer. */
const STEPS = ['asked', 'done', 'answered', 'acknowledged'] as const

test('webhooks: every event is done once by its merchant, or a dead letter, whatever is killed', {
  timeout: 600_000,
}, async () => {
  const random = createRandom(Number(process.env.MILLRACE_SEED ?? 1))
  let trap:
    | { readonly step: string; readonly sprung: (eventId: string) => void; readonly killed: Promise<never> }
    | undefined
  /** Where the process is to die: rejects once it has. */
  function spring(step: string, { merchantId, eventId }: Received): Promise<never> | undefined {
    if (trap?.step !== step || merchantId !== 'good') return undefined
    const { sprung, killed } = trap
    trap = undefined
    sprung(eventId)
    return killed
  }
  const merchants = await startMerchants(
    async (received) => {
      await spring('asked', received)
      return MERCHANTS[received.merchantId]?.(received) ?? 404
    },
    (received) => spring('done', received),
  )
  onTestFinished(() => merchants.close())
  const environment: NodeJS.ProcessEnv = { WEBHOOKS_TIMEOUT_MS: String(TIMEOUT_MS), WEBHOOKS_ALLOWED: '127.0.0.1' }
  const system = await startSystem(FUNCTIONS, [GROUP], { environment })
  const { raw, server, redis } = system
  const proxy = await startFaultProxy(server)
  onTestFinished(() => proxy.close())
  environment.REDIS_URL = proxy.url
  await raw.script('LOAD', acknowledgeWithEffectsScript.lua)
  for (const name of NAMES)
    await raw.hset(`{webhooks}:endpoint:${name}`, { url: merchants.urlOf(name), secrets: SECRET })
  await raw.hset('{webhooks}:endpoint:inside', { url: 'http://169.254.169.254/latest/meta-data/', secrets: SECRET })

  const events = Array.from({ length: EVENTS }, (_, n) => ({
    merchantId: n % 2 ? 'good' : random.pick([...NAMES, 'inside', 'nowhere']),
    eventId: `e-${n}`,
  }))
  const shop = createPublisher({ stream: 'webhooks', redis, producer: 'shop' })
  /** Twice each, as a publisher may that had no answer. */
  async function publish(some: typeof events): Promise<void> {
    const all = some.map(
      ({ merchantId, eventId }) =>
        [WebhookDue, { merchantId, type: 'order.paid', data: {} }, { eventId, aggregateId: merchantId }] as const,
    )
    await shop.publishMany([...all, ...all])
  }
  async function killAt(step: (typeof STEPS)[number]): Promise<string | undefined> {
    const [sprung, killed] = [Promise.withResolvers<string>(), Promise.withResolvers<never>()]
    killed.promise.catch(() => {})
    let eventId: string | undefined
    if (step === 'asked' || step === 'done') {
      trap = { step, sprung: sprung.resolve, killed: killed.promise }
      eventId = await sprung.promise
    } else {
      const sha = String(evalsha(acknowledgeWithEffectsScript, '', [], [])[1])
      if (step === 'acknowledged') await proxy.cutAfter(sha)
      else
        for (;;) {
          const held = await proxy.pauseOn(sha)
          // a 410 is acknowledged by the same script, and leaves no note
          if ((await raw.keys('{webhooks}:sent:*')).length > 0) break
          held.release()
        }
    }
    kills.push(Date.now())
    await system.kill()
    killed.reject(new Error(`killed where it was ${step}`))
    const marked = await raw.keys('{webhooks}:sent:*')
    if (step === 'answered') {
      answeredUntil = Date.now()
      answered.push(...marked.map((key) => key.split(':').at(-1) as string))
    }
    await system.start()
    return eventId
  }
  const kills: number[] = []
  /** Events that were answered, and not acknowledged when the process died. */
  const answered: string[] = []
  let answeredUntil = Infinity
  const killedAt: Partial<Record<(typeof STEPS)[number], string | undefined>> = {}
  const share = Math.ceil(EVENTS / STEPS.length)
  for (const [n, step] of STEPS.entries()) {
    const killed = killAt(step)
    await publish(events.slice(n * share, (n + 1) * share))
    if (n === 0) await system.start()
    killedAt[step] = await killed
  }
  await system.drained()

  const sentTo = (eventId: string) => merchants.received.filter((one) => one.eventId === eventId)
  const ofMerchant = (name: string) =>
    events.filter(({ merchantId }) => merchantId === name).map(({ eventId }) => eventId)
  const letters = await system.deadLetters(GROUP)
  const stats = new Map<string, Record<string, string>>()
  for (const key of await raw.keys('{webhooks}:stats:*')) stats.set(key.split(':')[2] as string, await raw.hgetall(key))

  expect(merchants.forged).toEqual([])
  // read, and not yet done: claimed later, and done
  expect(sentTo(killedAt.asked as string).length).toBeGreaterThan(1)
  // done, and not answered: sent again under its id, by which the merchant knows it
  expect(sentTo(killedAt.done as string).length).toBeGreaterThan(1)
  // answered, and not acknowledged: sent once
  expect(answered).not.toEqual([])
  expect(answered.filter((id) => sentTo(id).some(({ at }) => at > answeredUntil))).toEqual([])
  for (const name of ['good', 'better', 'flaky', 'slow', 'forgetful', 'busy'])
    expect([...(merchants.done.get(name) ?? [])].sort(), name).toEqual(ofMerchant(name).sort())
  // a failure is retried, after as long as it asks for
  for (const name of ['flaky', 'slow', 'forgetful'])
    expect(Math.min(...ofMerchant(name).map((id) => sentTo(id).length)), name).toBeGreaterThan(1)
  // a process that dies may not have had the answer that asks for it
  const heard = ofMerchant('busy').filter((id) => {
    const sentAt = sentTo(id)[0]?.at ?? 0
    return !kills.some((at) => at >= sentAt && at < sentAt + TIMEOUT_MS)
  })
  const waits = heard.map((id) => (sentTo(id)[1]?.at ?? 0) - (sentTo(id)[0]?.at ?? 0))
  expect(waits).not.toEqual([])
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(2_000)
  // what is refused is a dead letter
  const refused = REFUSE.flatMap((name) => ofMerchant(name))
  expect([...new Set(letters.map(({ eventId = '' }) => eventId))].sort()).toEqual(refused.sort())
  expect(new Set(letters.map(({ reason }) => reason))).toEqual(new Set(['non-retryable']))
  expect(new Set(letters.map(({ errorMessage }) => errorMessage))).toEqual(
    new Set([
      'the endpoint answered 400',
      'the endpoint answered 308',
      'the endpoint answered forbidden',
      'the merchant has no endpoint',
    ]),
  )
  // one 410, and nothing more is sent but what was under way
  expect(await raw.hget('{webhooks}:endpoint:gone', 'disabledAt')).toMatch(/^\d+$/)
  const { 'answer:410': gone = '0', 'answer:disabled': disabled = '0' } = stats.get('gone') ?? {}
  expect(Number(gone) + Number(disabled)).toBe(ofMerchant('gone').length)
  // counted once, with the acknowledgement
  for (const [name, status] of [
    ['good', 200],
    ['better', 204],
    ['flaky', 200],
    ['slow', 200],
    ['forgetful', 200],
    ['busy', 202],
  ] as const) {
    const counted = stats.get(name) ?? {}
    const latencies = Object.entries(counted).filter(([field]) => field.startsWith('within:'))
    expect(counted[`answer:${status}`], name).toBe(String(ofMerchant(name).length))
    expect(
      latencies.reduce((sum, [, count]) => sum + Number(count), 0),
      name,
    ).toBe(ofMerchant(name).length)
  }
  expect(await raw.keys('{webhooks}:sent:*')).toEqual([])
  console.log(
    `${EVENTS} events: requests ${merchants.received.length}, dead letters ${letters.length}, 410 ${gone}, disabled ${disabled}, answered before a kill ${answered.length}`,
  )
})
