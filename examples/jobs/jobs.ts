import { randomUUID } from 'node:crypto'
import type { EventDefinition, PayloadOf } from 'millrace'
import { createPublisher, defineEvent } from 'millrace'
import * as z from 'zod/mini'
import { client, redis } from './redis.ts'

/** Streams by priority; all keys of a job lie in their hash slot. */
export const JOBS = 'jobs'
export const PRIORITIES = ['high', 'normal', 'low'] as const
export type Priority = (typeof PRIORITIES)[number]

const DAY_MS = 86_400_000
/** A job that has not ended by then is a dead letter. */
export const MAX_AGE_MS = 6 * DAY_MS
/** How long a job's state is kept after its last change: longer than a job may wait, so that one that was canceled or is done never starts again. */
export const KEEP_MS = MAX_AGE_MS + DAY_MS

/** How many primes there are below a number. */
export const CountPrimes = defineEvent('CountPrimes', {
  payload: z.object({ below: z.int().check(z.gte(2), z.lte(10_000_000)) }),
})
/** Has the mail service send a text. */
export const SendMail = defineEvent('SendMail', {
  payload: z.object({ to: z.email(), text: z.string().check(z.maxLength(10_000)) }),
})
/** What a configured type may be called. */
export const typeName = z.string().check(z.regex(/^[A-Za-z][\w-]{0,63}$/))
/** A job of a type that is no part of the poller: the function that `configureType` named does it. */
export const RunFunction = defineEvent('RunFunction', { payload: z.object({ type: typeName, input: z.unknown() }) })

/** A hash: `type`, `state`, `progress`, `attempts`, `run` of the last attempt, `error` of the last that failed, `cancel` once that was asked for. */
export const jobKey = (jobId: string) => `{jobs}:job:${jobId}`
/** What a job answered, as JSON. */
export const resultKey = (jobId: string) => `{jobs}:result:${jobId}`

const publisher = createPublisher({ stream: JOBS, redis, producer: 'jobs', maxLength: Number.POSITIVE_INFINITY })

/** Unless it runs already, or has ended. */
const QUEUE = `
if redis.call('EXISTS', KEYS[1]) == 1 then return end
redis.call('HSET', KEYS[1], 'type', ARGV[1], 'state', 'queued', 'progress', 0, 'attempts', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[2])`

/**
 * Submits a job. Whoever gets no answer submits again under the same `jobId`, within a day: it is one job.
 *
 * @returns The job's id.
 * @throws {InvalidPayloadError | RangeError} No such input, id or priority.
 */
export async function submit<Type extends EventDefinition>(
  type: Type,
  input: PayloadOf<Type>,
  { jobId = randomUUID(), priority = 'normal' }: { readonly jobId?: string; readonly priority?: Priority } = {},
): Promise<string> {
  if (!/^[\w-]{1,64}$/.test(jobId)) throw new RangeError('jobId must be 1 to 64 letters, digits, "_" and "-"')
  if (!PRIORITIES.includes(priority)) throw new RangeError(`priority must be one of ${PRIORITIES.join(', ')}`)
  await publisher.publish(type, input, { eventId: jobId, deduplicateMs: DAY_MS })
  const name = type === RunFunction ? (input as PayloadOf<typeof RunFunction>).type : type.type
  await client.eval(QUEUE, 1, jobKey(jobId), name, KEEP_MS)
  return jobId
}

/** Before the start, and between two attempts, that is the end of it; one that runs is told. */
const CANCEL = `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'unknown' end
if state == 'done' or state == 'failed' or state == 'canceled' then return state end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if state == 'running' then
  redis.call('HSET', KEYS[1], 'cancel', 1)
  return 'canceling'
end
redis.call('HSET', KEYS[1], 'state', 'canceled')
return 'canceled'`

/**
 * Cancels a job. `canceled`: it never starts, or never again. `canceling`: it runs, and its `signal` is aborted within two seconds; `readJob` says what became of it. Else what it
 * has ended as, or `unknown`.
 */
export const cancel = (jobId: string) => client.eval(CANCEL, 1, jobKey(jobId), KEEP_MS) as Promise<string>

export interface JobView {
  readonly type: string
  readonly state: 'queued' | 'running' | 'retrying' | 'done' | 'failed' | 'canceled'
  /** 0 to 100; it never goes back. */
  readonly progress: number
  /** How often it was started. */
  readonly attempts: number
  /** What the last attempt failed with, if the job is not done. */
  readonly error?: string
  /** What it answered, of one that is done; `undefined` once that has expired. */
  readonly result?: unknown
}

/** `undefined`: nobody submitted it, or it ended long ago. */
export async function readJob(jobId: string): Promise<JobView | undefined> {
  const [job, result] = await Promise.all([client.hgetall(jobKey(jobId)), client.get(resultKey(jobId))])
  const { type, state, progress, attempts, error } = job
  if (type === undefined || state === undefined) return undefined
  const isDone = state === 'done'
  return {
    type,
    state: state as JobView['state'],
    progress: Number(progress),
    attempts: Number(attempts),
    ...(!isDone && error !== undefined && { error }),
    ...(isDone && result !== null && { result: JSON.parse(result) }),
  }
}
