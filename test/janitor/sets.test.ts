import { claim, createPublisher, defineConsumer, defineEvent, NonRetryableError, on, poll, prioritized } from 'millrace'
import { createJanitor, registeredGroups, registerGroups, runJanitor, unregisterGroups } from 'millrace/janitor'
import { reportMetrics } from 'millrace/powertools'
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as z from 'zod/mini'
import { captureOutput, readMetricLine } from '../support/metric-lines.ts'
import { memoryArchive, startWorld } from './keeper.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const jobs = prioritized('jobs', ['high', 'low'])
const SET = { stream: jobs, groups: { work: { owner: 'team' } } }

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

async function aSet(kind: 'memory' | 'redis') {
  const { redis, ids, raw } = await startWorld(kind)
  const publisher = createPublisher({ stream: jobs, redis })
  const consumers = defineConsumer({
    stream: jobs,
    group: 'work',
    routes: [
      on(Job, ({ payload: { id } }) => {
        if (id === 'never') throw new NonRetryableError('never')
      }),
    ],
  })
  return {
    redis,
    raw,
    ids,
    publish: (priority: string, ...names: string[]) =>
      publisher.publishMany(names.map((id) => [Job, { id }, { priority }] as const)),
    read: async () => {
      await poll(consumers, { redis })
      await claim(consumers, { redis })
    },
  }
}

describe.each(['memory', 'redis'] as const)('a janitor of a set, %s', (kind) => {
  it('registers its groups on each stream, and archives and trims each', async () => {
    const { redis, publish, read, ids } = await aSet(kind)
    await publish('high', 'a')
    await publish('low', 'b', 'c')
    await read()
    await publish('low', 'd')
    const { archive, objects } = memoryArchive()

    const report = await runJanitor(SET, { redis, archive })

    expect(report).toMatchObject({ archived: 3, trimmed: 3, kept: 1, drained: true })
    expect(report.streams.map(({ stream, set, trimmed }) => [stream, set, trimmed])).toEqual([
      ['{jobs}:high', 'jobs', 1],
      ['{jobs}:low', 'jobs', 2],
    ])
    expect(new Set([...objects.keys()].map((name) => decodeURIComponent(name.split('/')[0] as string)))).toEqual(
      new Set(jobs.streams),
    )
    expect([(await ids('{jobs}:high')).length, (await ids('{jobs}:low')).length]).toEqual([0, 1])
    for (const stream of jobs.streams) expect([...(await registeredGroups(stream, { redis })).keys()]).toEqual(['work'])
  })

  it('trims dead letters of each stream, and keeps what it has not done', async () => {
    const { redis, publish, read, ids } = await aSet(kind)
    await publish('high', 'never')
    await publish('low', 'never', 'a')
    await read()
    await publish('low', 'b')
    await new Promise((resolve) => setTimeout(resolve, 5))
    const groups = { work: { owner: 'team', deadLetters: { retentionMs: 1 } } }

    const report = await runJanitor({ ...SET, groups }, { redis })

    expect(report.streams.map(({ stream }) => stream)).toEqual([
      '{jobs}:high',
      '{jobs}:low',
      '{jobs}:high:work:dlq',
      '{jobs}:low:work:dlq',
    ])
    expect(await ids('{jobs}:low:work:dlq')).toEqual([])
    expect((await ids('{jobs}:low')).length).toBe(1)
  })

  it('a publisher with maxBacklog leaves alone the priority that is full, and no other', async () => {
    const { redis, ids, read } = await aSet(kind)
    await registerGroups(jobs, SET.groups, { redis })
    const bounded = createPublisher({ stream: jobs, redis, maxBacklog: 1 })
    await read()
    await bounded.publish(Job, { id: 'a' }, { priority: 'low' })

    const refused = bounded.publishMany([
      [Job, { id: 'b' }, { priority: 'high' }],
      [Job, { id: 'c' }, { priority: 'low' }],
    ])

    await expect(refused).rejects.toMatchObject({ code: 'ERR_BACKLOG_FULL', stream: '{jobs}:low' })
    expect((await ids('{jobs}:high')).length).toBe(0)
    const other = createPublisher({ stream: jobs, redis, maxBacklog: 1 })
    await other.publish(Job, { id: 'd' }, { priority: 'high' })
    expect((await ids('{jobs}:high')).length).toBe(1)
  })

  it('registers and takes off by the set', async () => {
    const { redis } = await aSet(kind)
    const names = async () => {
      const all = await Promise.all(jobs.streams.map((stream) => registeredGroups(stream, { redis })))
      return all.map((groups) => [...groups.keys()])
    }

    await registerGroups(jobs, SET.groups, { redis })
    expect(await names()).toEqual([['work'], ['work']])
    await unregisterGroups(jobs, ['work'], { redis })
    expect(await names()).toEqual([[], []])
  })
})

it('a deployment names the set, or one of its streams by its key', async () => {
  const { redis, publish, read, ids } = await aSet('memory')
  await publish('high', 'a', 'b', 'c')
  await publish('low', 'd', 'e', 'f')
  await read()
  const deployed = [
    { stream: 'jobs', maxLength: 1, groups: SET.groups },
    { stream: '{jobs}:low', maxLength: 2 },
  ]
  vi.stubEnv('MILLRACE_JANITOR', JSON.stringify(deployed))

  await createJanitor({ stream: jobs }, { redis })({}, {} as never)

  expect([(await ids('{jobs}:high')).length, (await ids('{jobs}:low')).length]).toEqual([1, 2])
})

it('metrics of a set are one line, with what its streams add up to', async () => {
  const { redis, publish, read } = await aSet('memory')
  await publish('high', 'a')
  await publish('low', 'b', 'c')
  await read()
  await publish('low', 'd')
  const written = captureOutput()
  vi.stubEnv('POWERTOOLS_SERVICE_NAME', 'shop')

  await runJanitor({ stream: jobs }, { redis, observe: reportMetrics() })

  expect(written.map(readMetricLine)).toMatchObject([
    {
      dimensions: { service: 'shop', EventSource: 'jobs' },
      metrics: { TrimmedEntryCount: 3, StreamLength: 1, UnregisteredGroups: 1 },
    },
  ])
})

it.each([
  ['beforeId', { beforeId: '1-1' }],
  ['keepFrom', { keepFrom: () => '1-1' }],
])('%s of a set is refused, since an entry id is of one stream', async (_name, options) => {
  const { redis } = await aSet('memory')

  expect(() => createJanitor({ stream: jobs, ...options }, { redis })).toThrow(
    'beforeId and keepFrom must be of one stream',
  )
})

it('a set and one of its streams together are refused', async () => {
  const { redis } = await aSet('memory')

  expect(() => createJanitor([{ stream: jobs }, { stream: '{jobs}:low' }], { redis })).toThrow(
    'stream "{jobs}:low" must appear once',
  )
})
