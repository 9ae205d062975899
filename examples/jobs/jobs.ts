import { randomUUID } from 'node:crypto'
import type { EventDefinition, PayloadOf } from 'millrace'
import { createPublisher, defineEvent, prioritized } from 'millrace'
import * as z from 'zod/mini'
import { client, redis } from './redis.ts'

/** A stream for each priority; all keys of a job lie in their hash slot. */
export const JOBS = prioritized('jobs', ['high', 'normal', 'low'])

const DAY_MS = 86_400_000
/** A job that has not ended by then is a dead letter. */
export const MAX_AGE_MS = 6 * DAY_MS
/** How long a job's state is kept after its last change: longer than a job may wait, so that one that was canceled or is done never starts again. */
export const KEEP_MS = MAX_AGE_MS + DAY_MS

const below = z.int().check(z.gte(2), z.lte(10_000_000))
/** How many primes there are below a number. */
export const CountPrimes = defineEvent('CountPrimes', { payload: z.object({ below }) })
/** Has the mail service send a text. */
export const SendMail = defineEvent('SendMail', { payload: z.object({ to: z.email(), text: z.string() }) })
/** What a configured type may be called. */
export const typeName = z.string().check(z.regex(/^[A-Za-z][\w-]{0,63}$/))
const input = z.optional(z.unknown())
/** A job of a type that the poller does not know: the function that is configured for it does it. */
export const RunFunction = defineEvent('RunFunction', { payload: z.object({ type: typeName, input }) })

/** The job's type: of a configured one its name. */
export const typeOf = (eventType: string, payload: unknown) =>
  eventType === RunFunction.type ? (payload as PayloadOf<typeof RunFunction>).type : eventType

/** A hash: `type`, `state`, `progress`, `attempts`, `run` of the last attempt, `error` of the last that failed, `cancel` once that was asked for. */
export const jobKey = (jobId: string) => `{jobs}:job:${jobId}`
/** What a job answered, as JSON. */
export const resultKey = (jobId: string) => `{jobs}:result:${jobId}`

const publisher = createPublisher({ stream: JOBS, redis, producer: 'jobs', maxLength: Number.POSITIVE_INFINITY })

const QUEUE = `
if redis.call('EXISTS', KEYS[1]) == 1 then return end -- it runs already, or has ended
redis.call('HSET', KEYS[1], 'type', ARGV[1], 'state', 'queued')
redis.call('PEXPIRE', KEYS[1], ARGV[2])`

/** Submits a job, of priority `normal` unless it says `high` or `low`. Whoever gets no answer submits again under the same `jobId`, within a day: it is one job. @throws {InvalidPayloadError | RangeError} No such input, id or priority. */
export async function submit<Type extends EventDefinition>(
  type: Type,
  input: PayloadOf<Type>,
  { jobId = randomUUID(), priority = 'normal' }: { readonly jobId?: string; readonly priority?: string } = {},
): Promise<string> {
  if (!/^[\w-]{1,64}$/.test(jobId)) throw new RangeError('jobId must be 1 to 64 letters, digits, "_" and "-"')
  await publisher.publish(type, input, { eventId: jobId, deduplicateMs: DAY_MS, priority })
  await client.eval(QUEUE, 1, jobKey(jobId), typeOf(type.type, input), KEEP_MS)
  return jobId
}

/** Before the start, and between two attempts, that is the end of it; one that runs asks for it; one that failed does not come back by a redrive. */
const CANCEL = `
local state = redis.call('HGET', KEYS[1], 'state') or 'unknown'
if state == 'unknown' or state == 'done' or state == 'canceled' then return state end
redis.call('HSET', KEYS[1], 'cancel', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if state == 'running' then return 'canceling' end
if state ~= 'failed' then redis.call('HSET', KEYS[1], 'state', 'canceled') end
return state == 'failed' and state or 'canceled'`

/** `canceled`: the job never starts, or never again. `canceling`: it runs, and its `signal` is aborted within two seconds; `readJob` says what became of it. Else what it has ended as, or `unknown`. */
export const cancel = (jobId: string) => client.eval(CANCEL, 1, jobKey(jobId), KEEP_MS) as Promise<string>

/** `state`: `queued`, `running`, `retrying`, `done`, `failed` or `canceled`; `progress`: 0 to 100; `error`: of the last attempt that failed; `result`: until it expires. `undefined`: nobody submitted it, or it ended long ago. */
export async function readJob(jobId: string) {
  const [job, result] = await Promise.all([client.hgetall(jobKey(jobId)), client.get(resultKey(jobId))])
  const { type, state, progress = 0, attempts = 0, error } = job
  if (type === undefined) return undefined
  const parsed: unknown = result === null ? undefined : JSON.parse(result)
  return { type, state, progress: Number(progress), attempts: Number(attempts), error, result: parsed }
}
