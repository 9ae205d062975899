import { readFile } from 'node:fs/promises'
import { createPublisher, defineConsumer, defineEvent, NonRetryableError, on, orderedBy, poll } from 'millrace'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const PREFIX = '{orders}:billing:'
const STATE = `${PREFIX}state`
const page = async (name: string) => await readFile(new URL(`../../${name}`, import.meta.url), 'utf8')
/** What the first column of tables names. */
const namesIn = (text: string) => [...text.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name = '']) => name)

/** Names that say whose something is, as the page writes them. */
const general = (name: string) => name.replace(/^error:.*/, 'error:<id>')

const Stepped = defineEvent('Stepped', { payload: z.object({ id: z.string() }) })
const consumer = defineConsumer({
  stream: 'orders',
  group: 'billing',
  routes: [
    on(Stepped, ({ payload: { id } }) => {
      if (id === 'hopeless') throw new NonRetryableError('never')
      throw new Error('down')
    }),
  ],
  mode: 'once',
  use: [orderedBy(({ aggregateId }) => aggregateId, { afterDeadLetter: 'wait' })],
})

test('"Keys" in docs/ordering.md lists every key and field that order writes, and what the keys hold', async () => {
  const { redis, raw, server } = await startScenario()
  const watch = await watchCommands(server.url)
  const publisher = createPublisher({ stream: 'orders', redis })
  const publish = (ids: readonly string[], key: string) =>
    publisher.publishMany(ids.map((id, n) => [Stepped, { id }, { aggregateId: `${key}${n}` }] as const))
  await publish(['hopeless', 'down'], 'key')
  for (const [id, count, key] of [
    ['down', 150, 'key'],
    ['down', 150, 'key'],
    ['hopeless', 1_001, 'late'],
  ] as const) {
    await publish(
      Array.from({ length: count }, () => id),
      key,
    )
    for (let left = count; left > 0; left -= consumer.settings.batchSize) await poll(consumer, { redis })
    await claimOnce(consumer, { redis })
  }
  await poll(consumer, { redis })
  const commands = await watch.seen()
  const written = commands.filter(([name = '', key = '']) => /^(hset|zadd)$/.test(name) && key.startsWith(PREFIX))
  const keys = new Set(written.map(([, key = '']) => key))
  const fields = new Set(
    written.flatMap(([, key, ...pairs]) => (key === STATE ? pairs.filter((_, n) => n % 2 === 0).map(general) : [])),
  )
  const known = new Set(namesIn(await page('CONTRIBUTING.md')).map((name) => name.replace('<name>', '')))
  const isKnown = (name: string) => known.has(name.replace(/(poller|claimer)-\d+$/, '')) || known.has(name)
  const [, section = ''] = (await page('docs/ordering.md')).split('\n## Keys\n')

  const added = [...keys, ...fields].filter((name) => !isKnown(name))
  expect(added.sort()).toEqual(namesIn(section).sort())
  const [first, second, letter] = await Promise.all([
    raw.hget(`${PREFIX}lanes`, 'orderedBy =key1'),
    raw.hget(`${PREFIX}lanes`, 'orderedBy =key0'),
    raw.zrange(`${PREFIX}awaited`, '0', '0'),
  ])
  expect(first).toMatch(/^\d+-\d+$/)
  expect(second).toMatch(/^#\d+-\d+$/)
  expect(await raw.hget(`${PREFIX}lane-of`, first as string)).toBe('orderedBy =key1')
  expect(letter[0]).toMatch(/^orderedBy =key0\n[A-T]\d+[A-T]\d+:\d+-\d+$/)
})
