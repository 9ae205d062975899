import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  circuitBreaker,
  createPublisher,
  defineConsumer,
  defineEvent,
  NonRetryableError,
  on,
  poll,
  prioritized,
} from 'millrace'
import { registeredGroups } from 'millrace/janitor'
import type { Inspection } from 'millrace/operate'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { startScenario } from '../support/scenario.ts'
import { millrace } from './millrace.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const jobs = prioritized('jobs', ['high', 'low'])
const PRIORITIES = ['--priorities', 'high,low']

const MODULE = `
import { defineConsumer, defineEvent, on, prioritized } from 'millrace'
const payload = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } }
export const jobs = defineConsumer({
  stream: prioritized('jobs', ['high', 'low']),
  group: 'work',
  routes: [on(defineEvent('Job', { payload }), () => {})],
})
`

/** A set whose group has a dead letter on each stream, and jobs that wait. */
async function aSet() {
  const { server, redis } = await startScenario()
  const publisher = createPublisher({ stream: jobs, redis })
  const consumers = defineConsumer({
    stream: jobs,
    group: 'work',
    routes: [
      on(Job, ({ payload }) => {
        if (payload.id.startsWith('never')) throw new NonRetryableError('never')
      }),
    ],
  })
  const publish = (priority: string, ...ids: string[]) =>
    publisher.publishMany(ids.map((id) => [Job, { id }, { priority, eventId: id }] as const))
  await publish('high', 'never-1', 'a')
  await publish('low', 'never-2', 'never-3')
  await poll(consumers, { redis })
  await publish('high', 'b')
  await publish('low', 'c', 'd')
  const run = async (...args: string[]) => {
    const started = millrace([...args, '--redis', server.url], { env: { PATH: process.env.PATH } })
    const code = await started.exit
    return { code, lines: started.lines, text: started.text }
  }
  return { redis, consumers, run }
}

/** A module of the test's own, where it finds the package. */
async function aModule(): Promise<string> {
  const folder = await mkdtemp(join(import.meta.dirname, 'set-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'jobs.mjs')
  await writeFile(file, MODULE)
  return file
}

test('millrace status shows a set as one, then its streams', async () => {
  const { run } = await aSet()
  const file = await aModule()

  for (const which of [[file], ['--stream', 'jobs', ...PRIORITIES]]) {
    const { code, lines } = await run('status', ...which)
    const words = lines.map((line) => line.trim().split(/\s{2,}/))
    expect(code).toBe(0)
    expect(words[0]).toEqual(['jobs', 'a set of 2 streams, 7 entries'])
    expect(words[2]).toEqual(['work', '3', '0', '0', '0', '-', '3'])
    expect(lines.filter((line) => line.startsWith('{jobs}:'))).toHaveLength(2)
  }
  const { text } = await run('status', file, '--json')
  expect((JSON.parse(text) as Inspection).sets).toEqual([
    {
      name: 'jobs',
      streams: ['{jobs}:high', '{jobs}:low'],
      length: 7,
      groups: [
        {
          group: 'work',
          streams: 2,
          lag: 3,
          pending: 0,
          inHand: 0,
          parked: 0,
          deadLetters: 3,
          sinceLastSuccessMs: expect.any(Number),
          unknown: {},
        },
      ],
    },
  ])
})

test('millrace dlq lists and redrives the dead letters of a set', async () => {
  const { run } = await aSet()
  const which = ['--stream', 'jobs', ...PRIORITIES, '--group', 'work']

  const listed = await run('dlq', 'ls', ...which, '--json')
  const redriven = await run('dlq', 'redrive', ...which, '--all')

  expect(listed.lines).toHaveLength(3)
  expect(redriven).toMatchObject({
    code: 0,
    lines: ['work on {jobs}:high: redriven 1', 'work on {jobs}:low: redriven 2'],
  })
})

test('millrace pause and resume take all streams of a set', async () => {
  const { run, redis, consumers } = await aSet()
  const file = await aModule()

  const paused = await run('pause', 'jobs', 'work', ...PRIORITIES, '--why', 'a test')
  const report = await poll(consumers, { redis })
  const resumed = await run('resume', 'jobs', 'work', '--module', file)

  expect(paused.lines.map((line) => line.split(':').slice(0, 2).join(':'))).toEqual([
    'Paused group work of {jobs}:high',
    'Paused group work of {jobs}:low',
  ])
  expect(report).toMatchObject({ read: 0, paused: true })
  expect(resumed.code).toBe(0)
  expect(resumed.lines.filter((line) => line.startsWith('Resumed'))).toHaveLength(2)
  expect(await poll(consumers, { redis })).toMatchObject({ acked: 3 })
})

test('millrace tail names the stream of each entry of a set', async () => {
  const { run } = await aSet()

  const all = await run('tail', '--stream', 'jobs', ...PRIORITIES, '--from', '0', '--to-end')
  const some = await run('tail', '--stream', 'jobs', ...PRIORITIES, '--from', '0', '--count', '3', '--json')

  expect(all.lines.map((line) => line.slice(0, line.indexOf(' '))).sort((a, b) => (a < b ? -1 : 1))).toEqual([
    ...Array.from({ length: 3 }, () => '{jobs}:high'),
    ...Array.from({ length: 4 }, () => '{jobs}:low'),
  ])
  expect(some.lines.map((line) => (JSON.parse(line) as { stream: string }).stream)).toHaveLength(3)
})

test('millrace analyze, doctor and plan take a set', async () => {
  const { run } = await aSet()
  const file = await aModule()

  const analyzed = await run('analyze', 'jobs', ...PRIORITIES, '--json')
  const diagnosed = await run('doctor', file, '--json')
  const planned = await run('plan', file, '--acl')

  expect(
    (JSON.parse(analyzed.text) as { stream: string; read: number }[]).map(({ stream, read }) => [stream, read]),
  ).toEqual([
    ['{jobs}:high', 3],
    ['{jobs}:low', 4],
  ])
  const streams = (JSON.parse(diagnosed.text) as { stream?: string }[]).map(({ stream }) => stream)
  expect(streams).toEqual(expect.arrayContaining(['{jobs}:high', '{jobs}:low']))
  expect(planned.text).toContain('Unknown option')
  const acl = millrace(['plan', file, '--acl'], { env: { PATH: process.env.PATH } })
  expect(await acl.exit).toBe(0)
  expect(acl.lines.map((line) => line.split(' ')[1])).toEqual(['jobs-work-poller', 'jobs-work-claimer'])
})

test('--priorities without the name of a set, or with a bad one, is wrong usage', async () => {
  const { run } = await aSet()

  expect(await run('status', ...PRIORITIES)).toMatchObject({
    code: 2,
    lines: ['millrace status: --priorities needs the name of a set'],
  })
  expect((await run('status', '--stream', 'jobs', '--priorities', 'high')).text).toContain('must be an array of 2 to 8')
})

test('millrace register takes all streams of a set', async () => {
  const { redis, run } = await aSet()
  const work = ['jobs', 'work', ...PRIORITIES]

  const registered = await run('register', ...work, '--owner', 'team')
  const listed = await run('register', 'jobs', ...PRIORITIES, '--json')
  const removed = await run('register', ...work, '--remove')

  expect(registered.lines).toEqual([
    '{jobs}:high:',
    'registered work: owner team',
    '{jobs}:low:',
    'registered work: owner team',
  ])
  expect(listed.lines.map((line) => JSON.parse(line))).toEqual(
    jobs.streams.map((stream) => ({ stream, registered: { work: { owner: 'team' } } })),
  )
  expect([removed.code, removed.lines.length, (await registeredGroups('{jobs}:low', { redis })).size]).toEqual([
    0, 2, 0,
  ])
})

test('millrace resume --breaker closes the circuit breaker of a set, and status shows it', async () => {
  const { server, redis } = await startScenario()
  const publisher = createPublisher({ stream: jobs, redis })
  const use = [circuitBreaker({ failures: 1, perMs: 60_000, probeAfterMs: 60_000 })]
  const fail = () => {
    throw new Error('out')
  }
  const consumers = defineConsumer({ stream: jobs, group: 'work', routes: [on(Job, fail, { use })] })
  await publisher.publish(Job, { id: 'a' }, { priority: 'low' })
  await poll(consumers, { redis })
  const run = async (...args: string[]) => {
    const started = millrace([...args, '--redis', server.url], { env: { PATH: process.env.PATH } })
    return { code: await started.exit, text: started.text }
  }

  const shown = await run('status', '--stream', 'jobs', ...PRIORITIES)
  const closed = await run('resume', 'jobs', 'work', '--breaker', ...PRIORITIES)
  const again = await run('resume', 'jobs', 'work', '--breaker', ...PRIORITIES)

  expect(shown.text).toContain('circuit breaker of Job open')
  expect([closed.code, again.code]).toEqual([0, 1])
  expect(closed.text.match(/Closed the circuit breaker/g)).toHaveLength(1)
})

test.each<[command: string, args: string[]]>([
  ['dlq ls', ['--stream', 'jobs', '--group', 'work']],
  ['status', ['--stream', 'jobs']],
  ['tail', ['--stream', 'jobs', '--to-end']],
  ['analyze', ['jobs']],
  ['pause', ['jobs', 'work']],
  ['resume', ['jobs', 'work']],
])('millrace %s says what the name of a set needs', async (command, args) => {
  const { run } = await aSet()
  const { code, lines } = await run(...command.split(' '), ...args)

  expect(code).toBe(1)
  expect(lines).toContain(
    `millrace ${command}: the stream must exist, got "jobs"; there are "{jobs}:high", "{jobs}:low": if they are a set, --priorities must say how they end, the highest first`,
  )
})

test('a set has to have one of its streams, and a group on one of them', async () => {
  const { run } = await aSet()
  const ls = async (stream: string, priorities: string, group = 'work') =>
    run('dlq', 'ls', '--stream', stream, '--priorities', priorities, '--group', group)
  expect((await ls('jobs', 'high,never')).code).toBe(0)

  const none = await ls('jobs', 'urgent,never')
  expect([none.code, none.text]).toEqual([
    1,
    expect.stringMatching(
      /one of the streams of "jobs" must exist, got "{jobs}:urgent", "{jobs}:never"; there are "{jobs}:high"/,
    ),
  ])
  const noGroup = await ls('jobs', 'high,low', 'wrok')
  expect([noGroup.code, noGroup.text]).toEqual([
    1,
    expect.stringMatching(/the group must exist on "jobs", got "wrok": .*; it has "work"$/m),
  ])
  expect((await run('status', '--stream', '{jobs}:high')).code).toBe(0)
  expect((await run('status', '--stream', 'jobs:high')).text).toContain('; there is "{jobs}:high"')
})
