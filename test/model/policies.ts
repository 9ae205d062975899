import type { Decision, PolicyJob } from '../../src/index.ts'
import { definePolicy, idempotent } from '../../src/index.ts'
import { eventOf, GROUP, STREAM } from './world.ts'

function marker({ event }: PolicyJob): string {
  const { orderId } = (event?.payload ?? {}) as { orderId?: string }
  return `{${STREAM}}:${GROUP}:seen:${orderId}`
}

/** What was handled is remembered for longer than any plan takes. */
export const handledOnce = idempotent({
  ttlMs: 366 * 86_400_000,
  by: ({ payload }) => eventOf((payload as { orderId: string }).orderId),
})

/** A marker joins each acknowledgement; what has one is ignored. */
export const once = definePolicy({
  name: 'once',
  begin: () => ({
    questions: (jobs) => jobs.map((job) => ['EXISTS', marker(job)]),
    admit: (jobs, replies) => jobs.map((_job, n) => (replies[n] === 1 ? { action: 'ignore' } : undefined)),
    joins: (job) => [['SET', marker(job), job.entryId]],
  }),
})

/** Of its order: `o12+` is the twelfth. */
function numberOf({ fields }: PolicyJob): number {
  const [, payload] = fields.find(([name]) => name.toString() === 'payload') ?? []
  const { orderId } = JSON.parse(payload?.toString() ?? '{}') as { orderId?: string }
  return Number.parseInt(orderId?.slice(1) ?? '0', 10)
}

function aside(n: number): Decision | undefined {
  if (n % 3 === 0) return { action: 'park', delayMs: 90_000 }
  return n % 3 === 1 ? { action: 'park', until: 'a claimer looks' } : undefined
}

/** Two of three entries wait once, at no delivery: for a while, or until a claimer looks. */
export const shelf = definePolicy({
  name: 'shelf',
  begin: () => ({
    questions: (jobs) => jobs.map(({ entryId }) => ['SET', `{${STREAM}}:${GROUP}:shelved:${entryId}`, 1, 'NX']),
    admit: (jobs, replies) => jobs.map((job, n) => (replies[n] === 'OK' ? aside(numberOf(job)) : undefined)),
    isOver: (until) => until === 'a claimer looks',
  }),
})

/** Entries whose orders have numbers that are equal but for an even and an odd end run one after the other. */
export const serial = definePolicy({
  name: 'serial',
  begin() {
    const running = new Set<number>()
    const pairOf = (job: PolicyJob) => Math.floor(numberOf(job) / 2)
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
