import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { createPublisher, poll } from 'millrace'
import { expect, onTestFinished, test } from 'vitest'
import { acknowledgeWithEffectsScript } from '../../dist/group/redis/scripts/effects.js'
import { evalsha } from '../../src/group/redis/scripts/script.ts'
import { claimOnce } from '../support/claim-once.ts'
import { OrderPaid } from '../support/consumer.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import type { Scenario } from '../support/scenario.ts'
import { startScenario } from '../support/scenario.ts'
import { booking, OrderShipped } from './booking.ts'

const PROGRAM = new URL('./victim.ts', import.meta.url).pathname
const ROUNDS = 12

function startVictim(url: string) {
  const child = spawn('node', [PROGRAM, url], { stdio: ['ignore', 'ignore', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return {
    async kill() {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
    },
  }
}

/** What a dead process held is claimed at once. */
async function forgetHolders({ raw, age }: Scenario): Promise<void> {
  await raw.del(...['poller-0', 'poller-1', 'claimer-0', 'claimer-1'].map((name) => `{orders}:billing:slot:${name}`))
  await age(60_000).catch(() => {})
}

/** Works through all that is left; then each order must have been counted once. */
async function expectOnce(scenario: Scenario, orders: number, shipments: number): Promise<void> {
  const { raw, redis, pending } = scenario
  const consumer = booking(redis)
  for (let round = 0; round < 50; round++) {
    await forgetHolders(scenario)
    const { read } = await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
    if (read === 0 && (await pending()).length === 0) break
  }
  const appended = await raw.xrange('{orders}:ledger', '-', '+')
  const eventIds = appended.map(([, fields]) => fields[fields.indexOf('eventId') + 1])

  expect(await pending()).toEqual([])
  expect(await raw.mget('{orders}:booked', '{orders}:shipped')).toEqual([String(orders), String(shipments)])
  expect([new Set(eventIds).size, eventIds.length, await raw.scard('{orders}:ids')]).toEqual([orders, orders, orders])
}

/** Waits until effects took place, and a moment of chance: a victim is at work then. */
async function someProgress({ raw }: Scenario): Promise<void> {
  const before = await raw.get('{orders}:booked')
  while (
    (await raw.get('{orders}:booked')) === before &&
    (await raw.xpending('orders', 'billing').catch(() => [1]))[0] !== 0
  )
    await new Promise((resolve) => setImmediate(resolve))
  await delay(Math.random() * 15)
}

async function publishSome({ redis }: Scenario, count: number): Promise<void> {
  const publisher = createPublisher({ stream: 'orders', redis })
  const orders = Array.from({ length: count }, (_, n) => ({ orderId: `o-${n}` }))
  await publisher.publishMany(orders.map((order) => [OrderPaid, order] as const))
  await publisher.publishMany(orders.map((order) => [OrderShipped, order] as const))
}

test('effects take place once though processes are killed at any time', { timeout: 120_000 }, async () => {
  const scenario = await startScenario()
  await publishSome(scenario, 3_000)

  for (let round = 0; round < ROUNDS; round++) {
    const victim = startVictim(scenario.server.url)
    await someProgress(scenario)
    await victim.kill()
    await forgetHolders(scenario)
  }

  expect(Number(await scenario.raw.get('{orders}:booked'))).toBeLessThan(3_000)
  await expectOnce(scenario, 3_000, 3_000)
})

test.each([
  ['before the server has it', 'cutBefore', 0],
  ['after the server has it, before its answer', 'cutAfter', 10],
] as const)('a process that is killed %s leaves effects and acknowledgement, or neither', async (_when, cut, done) => {
  const scenario = await startScenario()
  const { server, raw } = scenario
  // known beforehand, so that the digest is all that is sent
  await raw.script('LOAD', acknowledgeWithEffectsScript.lua)
  await publishSome(scenario, 10)
  const proxy = await startFaultProxy(server)

  const isCut = proxy[cut](String(evalsha(acknowledgeWithEffectsScript, '', [], [])[1]))
  const victim = startVictim(proxy.url)
  await isCut
  await victim.kill()
  await proxy.close()

  expect(Number((await raw.get('{orders}:booked')) ?? 0)).toBe(done)
  await expectOnce(scenario, 10, 10)
})

test('effects take place once though the server is killed at any time', { timeout: 120_000 }, async () => {
  const scenario = await startScenario({ server: { args: ['--appendonly', 'yes', '--appendfsync', 'always'] } })
  await publishSome(scenario, 2_000)

  for (let round = 0; round < 8; round++) {
    const victim = startVictim(scenario.server.url)
    await someProgress(scenario)
    scenario.server.kill('SIGKILL')
    await victim.kill()
    await scenario.server.restart()
    await forgetHolders(scenario)
  }

  await expectOnce(scenario, 2_000, 2_000)
})
