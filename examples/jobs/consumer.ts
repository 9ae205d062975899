import { concurrencyLimit, type DeadLetterNotice, defineConsumer, on } from 'millrace'
import { CountPrimes, JOBS, MAX_AGE_MS, RunFunction, SendMail, typeOf } from './jobs.ts'
import { client } from './redis.ts'
import { bury, runs } from './run-job.ts'
import { countPrimes, MOST, runFunction, sendMail } from './work.ts'

/** A route a type: how many at once, how long, how often, and when again. */
export const work = defineConsumer({
  stream: JOBS,
  group: 'work',
  routes: [
    on(CountPrimes, runs(countPrimes), { concurrency: 2, handlerTimeoutMs: 20_000, maxDeliveries: 3 }),
    on(SendMail, runs(sendMail, { resultTtlMs: 3_600_000 }), {
      concurrency: 8,
      handlerTimeoutMs: 5_000,
      maxDeliveries: 5,
      backoff: { firstMs: 500, factor: 4, maxMs: 60_000 },
    }),
    on(RunFunction, runs(runFunction), {
      maxDeliveries: MOST.maxDeliveries,
      use: [concurrencyLimit({ max: 4, by: ({ type, payload }) => typeOf(type, payload) })], // of each type, over all pollers
    }),
  ],
  concurrency: 10,
  handlerTimeoutMs: MOST.timeoutMs + 2_000,
  minIdleMs: 30_000,
  backoff: { firstMs: 1_000, factor: 2, maxMs: 60_000 },
  maxAgeMs: MAX_AGE_MS,
  deadLetters: { maxLength: 10_000 },
  onDeadLetter: noteDeadLetter,
})

/** The state of the job, and a notice by SNS. Called at most once for a letter; what a run that dies misses of the state, the report makes good. */
async function noteDeadLetter(
  { stream, entryId, eventId, eventType = 'unknown', reason, error, deadLetters }: DeadLetterNotice,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  // of what was never read, as its process died each time, the entry knows more
  const [[, fields] = ['', []]] = eventId ? [] : await client.xrange(stream, entryId, entryId)
  const jobId = eventId ?? fields[fields.indexOf('eventId') + 1] ?? ''
  const type = (await bury(jobId, error?.message ?? reason)) ?? eventType
  const noticed = `{jobs}:noticed:${type}:${reason}`
  // one in five minutes for those of a type and reason: it says that there is something, the report how much
  if (!(await client.set(noticed, 1, 'PX', 300_000, 'NX'))) return
  const Message = JSON.stringify({ type, reason, jobId, error: error?.name, deadLetters })
  const { NOTICES_TOPIC_ARN: TopicArn } = process.env
  if (!TopicArn) return console.log(`A job failed: ${Message}`)
  const { PublishCommand, SNSClient } = await import('@aws-sdk/client-sns')
  const command = new PublishCommand({ TopicArn, Subject: `A job failed: ${type}`.slice(0, 100), Message })
  // one that fails leaves it to the next
  await new SNSClient().send(command, { abortSignal: signal }).catch(() => client.del(noticed))
}
