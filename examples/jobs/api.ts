import { listDeadLetters } from 'millrace/operate'
import { work } from './consumer.ts'
import type { Priority } from './jobs.ts'
import { CountPrimes, cancel, RunFunction, readJob, SendMail, submit } from './jobs.ts'
import { redis } from './redis.ts'
import { bury } from './run-job.ts'
import { configureType, isConfigured } from './work.ts'

/** Dead letters of one type that failed alike. */
interface ReportRow {
  readonly type: string
  readonly reason: string
  /** Its numbers are `#`: what differs by them alone is one error. */
  readonly error: string
  count: number
  readonly since: string
}

/** Dead letters by type and error, the most frequent first. A job whose process died with its last attempt has its state from here. */
async function report(): Promise<readonly ReportRow[]> {
  const rows = new Map<string, ReportRow>()
  for (const consumer of [work].flat())
    for await (const letter of listDeadLetters(consumer, { redis })) {
      if (letter.problem !== undefined) continue
      const { eventId, eventType = 'unknown', reason, error, failedAt } = letter
      const message = error?.message ?? ''
      const found = eventId === undefined ? null : await bury(eventId, message || reason)
      const alike = { type: found ?? eventType, reason, error: message.replace(/\d+/g, '#').slice(0, 200) }
      const name = JSON.stringify(alike)
      const row = rows.get(name) ?? { ...alike, count: 0, since: failedAt }
      rows.set(name, { ...row, count: row.count + 1 })
    }
  return [...rows.values()].sort((one, other) => other.count - one.count)
}

/** What may be asked for, and what answers it. */
const ACTIONS = {
  async submit({ type = '', input, jobId, priority }: ApiRequest) {
    const options = { ...(jobId !== undefined && { jobId }), ...(priority !== undefined && { priority }) }
    if (type === CountPrimes.type) return submit(CountPrimes, input as never, options)
    if (type === SendMail.type) return submit(SendMail, input as never, options)
    if (await isConfigured(type)) return submit(RunFunction, { type, input }, options)
    throw new RangeError(`No jobs are of type ${JSON.stringify(type)}`)
  },
  read: ({ jobId = '' }: ApiRequest) => readJob(jobId),
  cancel: ({ jobId = '' }: ApiRequest) => cancel(jobId),
  /** @example {"action":"configure","type":"Slugify","input":{"functionName":"jobs-dev-job-slugify"}} */
  configure: ({ type = '', input }: ApiRequest) => configureType(type, input as never),
  report,
} as const

interface ApiRequest {
  readonly type?: string
  readonly input?: unknown
  readonly jobId?: string
  readonly priority?: Priority
}

/** Invoked by whoever may invoke it: `{ "action": "submit", "type": "CountPrimes", "input": { "below": 1000 } }` answers the job's id. */
export async function handler({ action, ...request }: ApiRequest & { readonly action: string }): Promise<unknown> {
  if (!Object.hasOwn(ACTIONS, action)) throw new RangeError(`action must be one of ${Object.keys(ACTIONS).join(', ')}`)
  return ACTIONS[action as keyof typeof ACTIONS](request)
}
