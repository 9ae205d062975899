import type { PolicyJob, Report } from 'millrace'
import { definePolicy } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, describeEverywhere, loseAnswer } from './world.ts'

const marker = ({ event }: PolicyJob) => `{orders}:billing:seen:${event?.eventId}`

/** Adds a marker to each acknowledgement, and acknowledges without a call what has one. */
const skipsDuplicates = definePolicy({
  name: 'skipsDuplicates',
  begin: () => ({
    questions: (jobs) => jobs.map((job) => ['EXISTS', marker(job)]),
    admit: (jobs, replies) => jobs.map((_job, n) => (replies[n] === 1 ? { action: 'ignore' } : undefined)),
    joins: (job) => [['SET', marker(job), job.entryId, 'PX', 3_600_000]],
  }),
})

describeEverywhere('a policy that adds a marker and skips a duplicate', (start) => {
  it('calls the handler once for two entries of one event', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [skipsDuplicates] })
    await world.publish('p1')
    const first = counts(await world.poll(consumer))
    await world.publish('p1', 'p2')
    const second = counts(await world.poll(consumer))

    expect(calls).toEqual(['p1', 'p2'])
    expect([first, second]).toEqual([
      { read: 1, acked: 1, invoked: 1 },
      { read: 2, acked: 1, ignored: 1, invoked: 1 },
    ])
    expect(await world.command('EXISTS', '{orders}:billing:seen:p2')).toBe(1)
  })

  it('writes no marker for an entry that went to another meanwhile', async () => {
    const world = await start()
    const consumer = billing(
      async () => {
        await world.pass(60_000)
        await world.claim(billing(() => {}, { minIdleMs: 15_000 }))
      },
      { use: [skipsDuplicates] },
    )
    await world.publish('p1')

    const report = await world.poll(consumer).catch((error: unknown) => (error as { report: Report }).report)

    expect([report.acked, report.superseded + report.unsettled]).toEqual([0, 1])
    expect(await world.command('EXISTS', '{orders}:billing:seen:p1')).toBe(0)
  })

  it('writes nothing where one of its commands is refused, and the entry comes again', async () => {
    const world = await start()
    const both = definePolicy({
      name: 'both',
      begin: () => ({
        joins: (job) => [
          ['SET', marker(job), 'x'],
          ['SADD', '{orders}:text', 'x'],
        ],
      }),
    })
    await world.command('SET', '{orders}:text', 'no set')
    await world.publish('p1')

    const error = await world.poll(billing(() => {}, { use: [both] })).catch((thrown: unknown) => thrown)

    expect(JSON.stringify((error as { report?: unknown }).report ?? error)).toContain('"unsettled":1')
    expect(await world.command('EXISTS', '{orders}:billing:seen:p1')).toBe(0)
    expect(await world.pending()).toEqual([['p1', 'parked', 1]])
  })

  it.each([1, 2])('calls once for an event though the answer to read %i is lost', async (nth) => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(({ payload }) => calls.push(payload.id), { use: [skipsDuplicates] })
    await world.publish('p1', 'p2')

    await loseAnswer(world, consumer, { nth, change: () => world.publish('p1', 'p2') })

    expect(calls).toEqual(['p1', 'p2'])
  })
})
