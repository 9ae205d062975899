import type { Decision, PolicyJob } from '../../src/index.ts'
import { definePolicy } from '../../src/index.ts'
import { GROUP, STREAM } from './world.ts'

function marker({ event }: PolicyJob): string {
  const { orderId } = (event?.payload ?? {}) as { orderId?: string }
  return `{${STREAM}}:${GROUP}:seen:${orderId}`
}

/** A marker joins each acknowledgement; what has one is ignored. */
export const once = definePolicy({
  name: 'once',
  begin: () => ({
    questions: (jobs) => jobs.map((job) => ['EXISTS', marker(job)]),
    admit: (jobs, replies) => jobs.map((_job, n) => (replies[n] === 1 ? { action: 'ignore' } : undefined)),
    joins: (job) => [['SET', marker(job), job.entryId]],
  }),
})

function aside(id: number): Decision | undefined {
  if (id % 3 === 0) return { action: 'park', delayMs: 90_000 }
  return id % 3 === 1 ? { action: 'park', until: 'a claimer looks' } : undefined
}

/** Two of three entries wait once, at no delivery: for a while, or until a claimer looks. */
export const shelf = definePolicy({
  name: 'shelf',
  begin: () => ({
    questions: (jobs) => jobs.map(({ entryId }) => ['SET', `{${STREAM}}:${GROUP}:shelved:${entryId}`, 1, 'NX']),
    admit: (jobs, replies) =>
      jobs.map(({ entryId }, n) => (replies[n] === 'OK' ? aside(Number.parseInt(entryId, 10)) : undefined)),
    isOver: (until) => until === 'a claimer looks',
  }),
})

/** Entries whose ids are equal but for an even and an odd end run one after the other. */
export const serial = definePolicy({
  name: 'serial',
  begin() {
    const running = new Set<number>()
    const pairOf = ({ entryId }: PolicyJob) => Math.floor(Number.parseInt(entryId, 10) / 2)
    return {
      riders: () => [['GET', `{${STREAM}}:nothing`]],
      answered([reply]) {
        if (reply !== null) throw new Error(`the rider was answered ${String(reply)}`)
      },
      holds: (job) => running.has(pairOf(job)),
      started: (job) => void running.add(pairOf(job)),
      ended(job) {
        running.delete(pairOf(job))
        return undefined
      },
    }
  },
})
