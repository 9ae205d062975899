import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda'
import type { PayloadOf } from 'millrace'
import { NonRetryableError, RetryAfterError } from 'millrace'
import * as z from 'zod/mini'
import type { CountPrimes, RunFunction, SendMail } from './jobs.ts'
import { typeName } from './jobs.ts'
import { client } from './redis.ts'
import type { Job } from './run-job.ts'

/** Numbers between two reports of progress, some milliseconds: while a function computes, nobody can cancel it. */
const CHUNK = 5_000

export async function countPrimes({ input: { below }, signal, progress }: Job<PayloadOf<typeof CountPrimes>>) {
  let primes = 0
  for (let from = 2; from < below; from += CHUNK) {
    signal.throwIfAborted()
    const to = Math.min(from + CHUNK, below)
    for (let n = from; n < to; n++) if (isPrime(n)) primes++
    await progress(Math.floor((100 * to) / below))
  }
  return { primes }
}

function isPrime(n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false
  return true
}

/** What a client should repeat is tried again: 5xx; too slow, too early, too many. */
export async function sendMail({ jobId, input, signal }: Job<PayloadOf<typeof SendMail>>) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': jobId }
  const request = { method: 'POST', headers, body: JSON.stringify(input), signal, redirect: 'manual' } as const
  const { ok, status, body } = await fetch(process.env.MAIL_URL ?? '', request)
  await body?.cancel()
  if (ok) return { status }
  const message = `the mail service answered ${status}`
  throw status >= 500 || [408, 425, 429].includes(status) ? new Error(message) : new NonRetryableError(message)
}

/** A hash: type → its function and limits, as JSON. */
const TYPES = '{jobs}:types'

/** The most that a configured type may have; more would be the poller's to give. */
export const MOST = { timeoutMs: 20_000, maxDeliveries: 10 }
const upTo = (most: number) => z.int().check(z.gte(1), z.lte(most))
/** An answer is waited for longer than the function's own timeout is: what is given up here may run on there. The wait before the second attempt doubles with each further one. */
const definition = z.object({
  functionName: z.string().check(z.regex(/^[\w:-]{1,140}$/)),
  timeoutMs: z._default(upTo(MOST.timeoutMs), 10_000),
  maxDeliveries: z._default(upTo(MOST.maxDeliveries), 3),
  retryAfterMs: z._default(upTo(3_600_000), 1_000),
})

/** Names the function that does jobs of a type, from the next job on, in every poller. */
export const configureType = async (type: string, given: unknown) =>
  void (await client.hset(TYPES, typeName.parse(type), JSON.stringify(definition.parse(given))))

export const isConfigured = async (type: string) => (await client.hexists(TYPES, type)) === 1

type FunctionJob = Job<PayloadOf<typeof RunFunction>>
const lambda = new LambdaClient({ maxAttempts: 1 }) // the retries are the job's

/** Has the function that is configured for the type do a job: it gets `{ jobId, type, input, attempt }`, and answers the result. */
export async function runFunction({ jobId, attempt, signal, input: { type, input } }: FunctionJob) {
  const text = await client.hget(TYPES, type)
  if (text === null) throw new NonRetryableError(`no function is configured for jobs of type ${type}`)
  const { functionName, timeoutMs, maxDeliveries, retryAfterMs } = definition.parse(JSON.parse(text))
  try {
    const request = JSON.stringify({ jobId, type, input, attempt })
    const command = new InvokeCommand({ FunctionName: functionName, Payload: request })
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const { FunctionError, Payload } = await lambda.send(command, { abortSignal })
    const answer = JSON.parse(Payload?.transformToString() || 'null')
    if (FunctionError === undefined) return answer as unknown
    throw new Error(`${answer?.errorType ?? FunctionError}: ${answer?.errorMessage ?? ''}`)
  } catch (cause) {
    const message = `${functionName}: ${(cause as Error).message}`
    if (attempt >= maxDeliveries) throw new NonRetryableError(message, { cause })
    throw new RetryAfterError(retryAfterMs * 2 ** (attempt - 1), message)
  }
}
