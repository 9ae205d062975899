import type { ConsumerOptions, Decision, Policy, PolicyDefinition, PolicyKind } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, definePolicy, on, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'

const Paid = defineEvent('Paid', { payload: z.object({ id: z.string() }) })

/** From what is asked first to what is asked last. */
const KINDS = ['maxAge', 'when', 'pause', 'version', 'breaker', 'order', 'idempotent', 'concurrency', 'rate'] as const

const PARK: Decision = { action: 'park', delayMs: 60_000 }
const IGNORE: Decision = { action: 'ignore' }

describe('of policies that would refuse an entry', () => {
  test.each(KINDS.slice(1).map((kind, n) => [KINDS[n] as PolicyKind, kind] as const))(
    '%s decides before %s, wherever they stand',
    async (first, second) => {
      const [ignores, parks] = [refuses(IGNORE, first), refuses(PARK, second)]

      expect(await polled({ use: [parks, ignores] })).toMatchObject({ ignored: 1, parked: 0 })
      expect(await polled({ use: [ignores, parks] })).toMatchObject({ ignored: 1, parked: 0 })
      expect(await polled({ use: [parks] }, [ignores])).toMatchObject({ ignored: 1, parked: 0 })
    },
  )

  test('those without a kind are asked last, the consumer’s before the route’s, and as they stand', async () => {
    const parks = refuses(PARK)

    expect(await polled({ use: [parks, refuses(IGNORE, 'rate')] })).toMatchObject({ ignored: 1 })
    expect(await polled({ use: [parks, refuses(IGNORE)] })).toMatchObject({ parked: 1 })
    expect(await polled({ use: [parks] }, [refuses(IGNORE)])).toMatchObject({ parked: 1 })
  })

  test('the kind decides also about entries that are not decoded', async () => {
    const inspects = (decision: Decision, kind?: PolicyKind): Policy =>
      definePolicy({
        name: decision.action,
        begin: () => ({ inspect: () => decision }),
        ...(kind && { kind }),
      })

    expect(await polled({ use: [inspects(PARK), inspects(IGNORE, 'pause')] })).toMatchObject({ ignored: 1 })
    expect(await polled({ use: [inspects(PARK, 'when'), inspects(IGNORE, 'pause')] })).toMatchObject({ parked: 1 })
  })
})

test('wraps stand as they are listed, whatever their kind', async () => {
  const order: string[] = []
  const wraps = (name: string, kind?: PolicyKind): Policy =>
    definePolicy({
      name,
      wrap: (next) => (event, context) => {
        order.push(name)
        return next(event, context)
      },
      ...(kind && { kind }),
    })
  await polled({ use: [wraps('a'), wraps('b', 'rate'), wraps('c', 'maxAge')] }, [wraps('d', 'maxAge')])

  expect(order).toEqual(['a', 'b', 'c', 'd'])
})

test.each([
  ['another', '"another"'],
  [1, 'number'],
  ['', '""'],
])('a kind of %j is refused by name', (kind, got) => {
  const definition = { name: 'odd', kind } as unknown as PolicyDefinition

  expect(() => definePolicy(definition)).toThrow(
    new TypeError(
      `Cannot define policy "odd": kind must be one of ${KINDS.map((known) => `"${known}"`).join(', ')}, got ${got}`,
    ),
  )
})

function refuses(decision: Decision, kind?: PolicyKind): Policy {
  const name = `${decision.action}s`
  return definePolicy({ name, begin: () => ({ admit: (jobs) => jobs.map(() => decision) }), ...(kind && { kind }) })
}

function consumerOf(options: Partial<ConsumerOptions>, ofRoute: readonly Policy[] = []) {
  const routes = [on(Paid, () => {}, { use: ofRoute })]
  return defineConsumer({ stream: 'orders', group: 'billing', routes, ...options })
}

async function polled(options: Partial<ConsumerOptions>, ofRoute?: readonly Policy[]) {
  const redis = connectMemory()
  await createPublisher({ stream: 'orders', redis }).publish(Paid, { id: '1' })
  return poll(consumerOf(options, ofRoute), { redis })
}
