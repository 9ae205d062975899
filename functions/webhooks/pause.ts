import type { Policy, PolicyJob } from 'millrace'
import { definePolicy } from 'millrace'
import type { WebhookEvent } from '../events/webhooks.ts'
import { ask, FAILURES, PAUSED } from './table.ts'

/** Failures in a row after which a merchant is left alone. */
const MOST_FAILURES = 5
const FIRST_PAUSE_MS = 10_000
const LONGEST_PAUSE_MS = 600_000

/** Until when merchants are left alone, as far as this run noted it itself: what it has read already is set aside as well. */
const noted = new Map<string, number>()

/** Sets the events of merchants aside that are left alone, at no delivery. When their time is over some are sent: what becomes of these decides. */
export function leaveAlone(): Policy {
  return definePolicy({
    name: 'leaveAlone',
    kind: 'breaker',
    needs: () => ({ keys: [{ key: PAUSED, commands: ['zscore'] }] }),
    begin(run) {
      // what earlier runs noted may be over: a merchant that moved, or worked for another run
      noted.clear()
      const queue = new Map<string, PolicyJob>()
      return {
        questions: (jobs) => merchantsOf(jobs).map((merchantId) => ['ZSCORE', PAUSED, merchantId] as const),
        admit(jobs, replies) {
          const until = new Map(merchantsOf(jobs).map((merchantId, n) => [merchantId, Number(replies[n] ?? 0)]))
          return jobs.map((job) => {
            const delayMs = (until.get(merchantOf(job)) ?? 0) - run.now()
            if (delayMs > 0) return { action: 'park', delayMs }
            queue.set(job.entryId, job)
            return undefined
          })
        },
        started: ({ entryId }) => void queue.delete(entryId),
        // a call that failed may be what the merchant is left alone for: then so is what waits for its own
        ended(job) {
          queue.delete(job.entryId)
          const delayMs = (noted.get(merchantOf(job)) ?? 0) - run.now()
          if (delayMs <= 0) return undefined
          const others = [...queue.values()].filter((other) => merchantOf(other) === merchantOf(job))
          return new Map(others.map(({ entryId }) => [entryId, { action: 'park', delayMs }]))
        },
      }
    },
  })
}

const merchantOf = ({ event }: PolicyJob) => (event as WebhookEvent | undefined)?.payload.merchantId ?? ''
const merchantsOf = (jobs: readonly PolicyJob[]) => [...new Set(jobs.map(merchantOf))].filter(Boolean)

/** An endpoint failed: it is left alone for as long as it asked for, and ever longer once it failed too often in a row. */
export async function noteFailure(merchantId: string, askedMs: number | undefined): Promise<void> {
  const [failures] = await ask([['HINCRBY', FAILURES, merchantId, 1]])
  const over = Number(failures) - MOST_FAILURES
  const ownMs = over < 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** over, LONGEST_PAUSE_MS)
  const pauseMs = Math.max(askedMs ?? 0, ownMs)
  if (pauseMs === 0) return
  const until = Date.now() + pauseMs
  noted.set(merchantId, until)
  // never shorter than what it asked for before
  await ask([['ZADD', PAUSED, 'GT', until, merchantId]])
}
