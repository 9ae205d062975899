import { randomUUID } from 'node:crypto'
import { format } from 'node:util'
import type { Event, HandlerContext } from 'millrace'
import { effects, NonRetryableError, UnavailableError } from 'millrace'
import { jobKey, KEEP_MS, resultKey, typeOf } from './jobs.ts'
import { client } from './redis.ts'

/** What a job's function gets. */
export interface Job<Input> {
  readonly jobId: string
  readonly input: Input
  readonly attempt: number
  /** Aborted when the job is canceled, and when its time is over. */
  readonly signal: AbortSignal
  /** Says how much is done, 0 to 100. What is less than was said before changes nothing; what cannot be written is left out. */
  readonly progress: (percent: number) => Promise<void>
}

/** Does a job. What it answers is the result, as JSON. A job may come again, so what it does elsewhere is done under its `jobId`. */
export type Work<Input> = (job: Job<Input>) => unknown

const [WATCH_MS, MOST_RESULT_BYTES] = [500, 262_144]

/** Begins an attempt, unless the job has ended or is not to start. */
const START = `
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'done' then return state end
state = redis.call('HEXISTS', KEYS[1], 'cancel') == 1 and 'canceled' or 'running'
redis.call('HSET', KEYS[1], 'state', state, 'type', ARGV[2], 'run', ARGV[1])
if state == 'running' then redis.call('HINCRBY', KEYS[1], 'attempts', 1) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return state`

/** Notes that an attempt failed, unless another one has begun meanwhile. */
const FAIL = `
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'state') ~= 'running' then return '' end
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then return 'canceled' end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'error', ARGV[3])
return ARGV[2]`

const PROGRESS = `
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return end
if tonumber(ARGV[1]) <= tonumber(redis.call('HGET', KEYS[1], 'progress') or 0) then return end
redis.call('HSET', KEYS[1], 'progress', ARGV[1])`

/** Of a dead letter, whatever became of its attempts: one whose process died has noted nothing. Answers its type. */
const BURY = `
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return end
if state ~= 'done' and state ~= 'canceled' then redis.call('HSET', KEYS[1], 'state', 'failed', 'error', ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'type')`

/** Makes a handler of a job's function. @param resultTtlMs How long the result can be read. */
export function runs<Input>(work: Work<Input>, { resultTtlMs = 86_400_000 }: { readonly resultTtlMs?: number } = {}) {
  return async (event: Event<string, Input>, context: HandlerContext): Promise<void> => {
    const [{ eventId: jobId, payload: input }, { deliveryCount: attempt, maxDeliveries }] = [event, context]
    const [key, run, type] = [jobKey(jobId), randomUUID(), typeOf(event.type, input)]
    const state = await client.eval(START, 1, key, run, type, KEEP_MS).catch((cause: unknown) => {
      throw new UnavailableError('a job cannot be begun', { cause })
    })
    if (state !== 'running') return
    const over = new AbortController()
    const signal = AbortSignal.any([context.signal, watch(key, AbortSignal.any([context.signal, over.signal]))])
    try {
      const result = textOf(await work({ jobId, input, attempt, signal, progress: reportTo(key) }))
      // in one step with the acknowledgement: an attempt that another one has overtaken ends nothing
      effects(context)
        .setFields(key, { type, state: 'done', progress: 100 })
        .expire(key, KEEP_MS)
        .set(resultKey(jobId), result, { ttlMs: resultTtlMs })
    } catch (error) {
      const failed = attempt >= maxDeliveries || error instanceof NonRetryableError ? 'failed' : 'retrying'
      const noted = await client.eval(FAIL, 1, key, run, failed, describe(error)).catch(() => '')
      if (noted !== 'canceled') throw error
      effects(context).setFields(key, { state: noted }).expire(key, KEEP_MS)
    } finally {
      over.abort()
    }
  }
}

/** Asks again and again whether somebody has canceled a job, until it is over: several times within the two seconds that this may take. */
function watch(key: string, over: AbortSignal): AbortSignal {
  const canceled = new AbortController()
  const hear = (cancel: number) => cancel && canceled.abort(new Error('the job was canceled'))
  // what cannot be asked now is asked again
  const timer = setInterval(() => void client.hexists(key, 'cancel').then(hear, () => {}), WATCH_MS)
  over.addEventListener('abort', () => clearInterval(timer), { once: true })
  return canceled.signal
}

const reportTo = (key: string) => async (percent: number) => {
  if (!(percent >= 0 && percent <= 100)) throw new RangeError(`percent must be 0 to 100, got ${percent}`)
  await client.eval(PROGRESS, 1, key, percent).catch(() => {})
}

/** @throws {NonRetryableError} It is no JSON, or too large. */
function textOf(result: unknown): string {
  try {
    const text = JSON.stringify(result) ?? 'null'
    if (Buffer.byteLength(text) <= MOST_RESULT_BYTES) return text
  } catch {}
  throw new NonRetryableError(`the result must be JSON of at most ${MOST_RESULT_BYTES} bytes`)
}

const describe = (error: unknown) => format('%s', error instanceof Error ? error.message : error).slice(0, 500)

/** Notes that a job is a dead letter, and keeps its state. @returns Its type, if it is known. */
export const bury = (jobId: string, why: string) =>
  client.eval(BURY, 1, jobKey(jobId), describe(why), KEEP_MS) as Promise<string | null>
