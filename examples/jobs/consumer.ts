import type { DeadLetterNotice, Event } from 'millrace'
import { concurrencyLimit, defineConsumer, on } from 'millrace'
import { CountPrimes, JOBS, MAX_AGE_MS, RunFunction, SendMail } from './jobs.ts'
import { client } from './redis.ts'
import { bury, runs } from './run-job.ts'
import { countPrimes, MOST, runFunction, sendMail } from './work.ts'

const typeOf = (event: Event) => (event.payload as { readonly type: string }).type

/** A route a type: how many at once, how long, how often, and when again. */
export const work = defineConsumer({
  stream: JOBS,
  group: 'work',
  routes: [
    on(CountPrimes, runs(countPrimes), { concurrency: 2, handlerTimeoutMs: 50_000, maxDeliveries: 3 }),
    on(SendMail, runs(sendMail, { resultTtlMs: 3_600_000 }), {
      concurrency: 8,
      handlerTimeoutMs: 5_000,
      maxDeliveries: 5,
      backoff: { firstMs: 500, factor: 4, maxMs: 60_000 },
    }),
    on(RunFunction, runs(runFunction), {
      maxDeliveries: MOST.maxDeliveries,
      use: [concurrencyLimit({ max: 4, by: typeOf })], // of each type, over all pollers
    }),
  ],
  concurrency: 10,
  handlerTimeoutMs: MOST.timeoutMs + 5_000,
  minIdleMs: 60_000,
  backoff: { firstMs: 1_000, factor: 2, maxMs: 60_000 },
  maxAgeMs: MAX_AGE_MS,
  deadLetters: { maxLength: 10_000 },
  onDeadLetter: noteDeadLetter,
})

/** Notices of one type and reason are this far apart: the first one says that there is something, the report how much. */
const NOTICE_EVERY_MS = 300_000

/** The state of the job, and a notice by SNS. Called at most once for a letter; what a run that dies misses of the state, the report makes good. */
async function noteDeadLetter(
  { eventId, eventType = 'unknown', reason, error, deadLetters }: DeadLetterNotice,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const found = eventId === undefined ? null : await bury(eventId, error?.message ?? reason)
  const type = found ?? eventType
  if (!(await client.set(`{jobs}:noticed:${type}:${reason}`, 1, 'PX', NOTICE_EVERY_MS, 'NX'))) return
  const Message = JSON.stringify({ type, reason, jobId: eventId, error: error?.name, deadLetters })
  const { NOTICES_TOPIC_ARN: TopicArn } = process.env
  if (!TopicArn) return console.log(`A job failed: ${Message}`)
  const { PublishCommand, SNSClient } = await import('@aws-sdk/client-sns')
  const command = new PublishCommand({ TopicArn, Subject: `A job failed: ${type}`.slice(0, 100), Message })
  await new SNSClient().send(command, { abortSignal: signal })
}
