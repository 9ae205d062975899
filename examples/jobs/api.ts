import { listDeadLetters } from 'millrace/operate'
import { work } from './consumer.ts'
import { CountPrimes, cancel, RunFunction, readJob, SendMail, submit } from './jobs.ts'
import { redis } from './redis.ts'
import { bury } from './run-job.ts'
import { configureType, isConfigured } from './work.ts'

/** Dead letters by type and error, the hundred most frequent first; errors that differ by numbers are one. A job whose process died with its last attempt has its state from here. */
async function report() {
  const counts = new Map<string, number>()
  for (const consumer of work)
    for await (const letter of listDeadLetters(consumer, { redis })) {
      if (letter.problem !== undefined) continue
      const { fields = [], eventType = 'unknown', reason, error: { message } = { message: '' } } = letter
      const jobId = fields.find(([name]) => String(name) === 'eventId')?.[1]
      const type = (jobId && (await bury(String(jobId), message || reason))) ?? eventType
      const row = JSON.stringify({ type, reason, error: message.replace(/\d+/g, '#').slice(0, 200) })
      counts.set(row, (counts.get(row) ?? 0) + 1)
    }
  const rows = [...counts].sort(([, one], [, other]) => other - one).slice(0, 100)
  return rows.map(([row, count]) => ({ ...JSON.parse(row), count }))
}

type ApiRequest = { readonly [name in 'type' | 'jobId' | 'priority']?: string } & { readonly input?: unknown }

/** What may be asked for, and what answers it. */
const ACTIONS = {
  async submit({ type = '', input, ...options }: ApiRequest): Promise<string> {
    const known = [CountPrimes, SendMail].find((one) => one.type === type)
    if (known) return submit<typeof known>(known, input as never, options)
    if (await isConfigured(type)) return submit(RunFunction, { type, input }, options)
    throw new RangeError(`No jobs are of type ${JSON.stringify(type)}`)
  },
  read: ({ jobId = '' }: ApiRequest) => readJob(jobId),
  cancel: ({ jobId = '' }: ApiRequest) => cancel(jobId),
  configure: ({ type = '', input }: ApiRequest) => configureType(type, input),
  report,
} as const

/** Invoked by whoever may invoke it: `{ "action": "submit", "type": "CountPrimes", "input": { "below": 1000 } }` answers the job's id. */
export async function handler({ action, ...request }: ApiRequest & { readonly action: string }): Promise<unknown> {
  if (!Object.hasOwn(ACTIONS, action)) throw new RangeError(`action must be one of ${Object.keys(ACTIONS).join(', ')}`)
  return ACTIONS[action as keyof typeof ACTIONS](request)
}
