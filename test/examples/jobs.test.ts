import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { ConsumerSetOptions } from 'millrace'
import { accessOf } from 'millrace/operate'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { lambdaContext } from '../../demo/schedule.ts'
import type { Job, Work } from '../../examples/jobs/run-job.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { aFunction, startLambda } from '../support/local-lambda.ts'

let server: PrivateRedis
let raw: Redis
let jobs: Jobs

/** What an AWS service, or the mail service, is asked, and how it answers: with a status. */
interface Asked {
  readonly url: string
  readonly requests: { readonly at: number; readonly body: string; readonly headers: NodeJS.Dict<string | string[]> }[]
  answer: (n: number) => number | Promise<number>
}

async function startService(): Promise<Asked> {
  const asked: Asked['requests'] = []
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request)
    asked.push({ at: performance.now(), body, headers: request.headers })
    response.writeHead(await service_.answer(asked.length), { 'content-type': 'text/xml', location: service_.url })
    response.end('<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>')
  }
  const service = createServer((request, response) => void serve(request, response)).listen(0, '127.0.0.1')
  await once(service, 'listening')
  closing.push(() => new Promise((resolve) => service.close(resolve)))
  const service_: Asked = {
    url: `http://127.0.0.1:${(service.address() as AddressInfo).port}`,
    requests: asked,
    answer: () => 200,
  }
  return service_
}
const closing: (() => Promise<unknown>)[] = []

let mail: Asked
let sns: Asked
beforeAll(async () => {
  server = await startRedisServer()
  raw = new Redis(server.url)
  mail = await startService()
  sns = await startService()
  jobs = await load({
    REDIS_URL: server.url,
    MAIL_URL: mail.url,
    NOTICES_TOPIC_ARN: 'arn:aws:sns:us-east-1:000000000000:notices',
    AWS_ENDPOINT_URL_SNS: sns.url,
    AWS_ENDPOINT_URL_LAMBDA: 'http://127.0.0.1:1',
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'x',
    AWS_SECRET_ACCESS_KEY: 'x',
    POWERTOOLS_METRICS_DISABLED: 'true',
    POWERTOOLS_LOG_LEVEL: 'SILENT',
  })
})
afterAll(async () => {
  vi.unstubAllEnvs()
  jobs.client.disconnect()
  await jobs.redis.close()
  raw.disconnect()
  await server.stop()
  await Promise.all(closing.map((close) => close()))
})
beforeEach(async () => {
  await raw.flushall()
  for (const service of [mail, sns]) service.requests.length = 0
  mail.answer = () => 200
})

type Jobs = Awaited<ReturnType<typeof load>>

/** Loads the system: its modules read the environment. */
async function load(environment: Readonly<Record<string, string>>) {
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  const { claim, defineConsumer, NonRetryableError, on, poll } = await import('millrace')
  const { redriveDeadLetters } = await import('millrace/operate')
  const { registeredGroups } = await import('millrace/janitor')
  const { redis, client } = await import('../../examples/jobs/redis.ts')
  const { work } = await import('../../examples/jobs/consumer.ts')
  const { handler: api } = await import('../../examples/jobs/api.ts')
  const { handler: janitor } = await import('../../examples/jobs/janitor.ts')
  const system = await import('../../examples/jobs/jobs.ts')
  const { runs } = await import('../../examples/jobs/run-job.ts')
  const { configureType } = await import('../../examples/jobs/work.ts')
  return {
    claim,
    defineConsumer,
    NonRetryableError,
    redriveDeadLetters,
    registeredGroups,
    on,
    poll,
    redis,
    client,
    work,
    api,
    janitor,
    runs,
    configureType,
    ...system,
  }
}

/** The system's consumer with another function for `CountPrimes`. */
function working(work: Work<{ below: number }>, options: Partial<ConsumerSetOptions> = {}) {
  const { defineConsumer, JOBS, on, CountPrimes, runs } = jobs
  return defineConsumer({
    stream: JOBS,
    group: 'work',
    routes: [on(CountPrimes, runs(work))],
    backoff: { firstMs: 1, factor: 1, maxMs: 1 },
    maxDeliveries: 3,
    ...options,
  })
}

/** Polls once. */
const poll = (consumers = jobs.work) => jobs.poll(consumers, { redis: jobs.redis })

/** Until nothing is left to do. */
async function settle(consumers = jobs.work): Promise<void> {
  do {
    await poll(consumers)
    await jobs.claim(consumers, { redis: jobs.redis })
    await sleep(5)
  } while ((await pendingOf(consumers)) > 0)
}

async function pendingOf(consumers: Jobs['work']): Promise<number> {
  const all = await Promise.all(consumers.map(({ stream, group }) => raw.xpending(stream, group)))
  return all.reduce((sum, [count]) => sum + Number(count), 0)
}

const submit = (below = 100, options = {}) => jobs.submit(jobs.CountPrimes, { below }, options)

describe('a job', () => {
  test('has a state from its submission, and a result that expires', async () => {
    const jobId = await submit(10_000)
    expect(await jobs.readJob(jobId)).toEqual({ type: 'CountPrimes', state: 'queued', progress: 0, attempts: 0 })
    expect(await raw.pttl(jobs.jobKey(jobId))).toBeGreaterThan(jobs.MAX_AGE_MS)
    await settle()

    const done = { type: 'CountPrimes', state: 'done', progress: 100, attempts: 1 }
    expect(await jobs.readJob(jobId)).toEqual({ ...done, result: { primes: 1229 } })
    expect(await raw.pttl(jobs.resultKey(jobId))).toBeGreaterThan(86_390_000)
    expect(await raw.pttl(jobs.jobKey(jobId))).toBeGreaterThan(jobs.MAX_AGE_MS)
    await raw.pexpire(jobs.resultKey(jobId), 1)
    await sleep(5)
    expect(await jobs.readJob(jobId)).toEqual(done)
    expect(await jobs.readJob(randomUUID())).toBeUndefined()
  })

  test('is done once, however often it is submitted under its id, with any priority', async () => {
    const jobId = randomUUID()
    let calls = 0
    const consumers = working(() => ++calls)
    for (const priority of ['low', 'high', 'low']) expect(await submit(10, { jobId, priority })).toBe(jobId)
    await settle(consumers)
    expect(await submit(10, { jobId })).toBe(jobId)
    await raw.xadd('{jobs}:high', '*', 'eventId', jobId, 'eventType', 'CountPrimes', 'payload', '{"below":10}')
    await settle(consumers)

    expect(calls).toBe(1)
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'done', result: 1 })
  })

  test('of a higher priority starts first', async () => {
    const order: number[] = []
    const consumers = working(({ input }) => void order.push(input.below), { concurrency: 1 })
    await submit(10, { priority: 'low' })
    await submit(20)
    await submit(30, { priority: 'high' })
    await settle(consumers)

    expect(order).toEqual([30, 20, 10])
    await expect(submit(10, { priority: 'urgent' })).rejects.toThrow(RangeError)
  })

  test('takes nothing but an id and a priority from who submits', async () => {
    const input = { below: 10 }
    const given = { action: 'submit', type: 'CountPrimes', input, jobId: 'mine', eventId: 'other', delayMs: 60_000 }
    expect(await jobs.api(given)).toBe('mine')
    await settle()

    expect(await jobs.readJob('mine')).toMatchObject({ state: 'done' })
    for (const action of ['__proto__', 'constructor', '', 'publish'])
      await expect(jobs.api({ action })).rejects.toThrow('action must be one of submit, read, cancel')
  })

  test.each([
    ['an input that is refused', () => submit(0)],
    ['an id that is none', () => submit(10, { jobId: 'a b' })],
  ])('is not there for %s', async (_what, give) => {
    await expect(give()).rejects.toThrow()
    expect(await raw.keys('*')).toEqual([])
  })

  test.each([
    ['is too large', 'x'.repeat(262_144)],
    ['is no JSON', 1n],
  ])('whose result %s is a dead letter, and comes not again', async (_what, result) => {
    const jobId = await submit()
    await settle(working(() => result))

    expect(await jobs.readJob(jobId)).toMatchObject({
      state: 'failed',
      attempts: 1,
      error: 'the result must be JSON of at most 262144 bytes',
    })
  })

  test.each([
    ['nothing', undefined, 'undefined'],
    ['an object without a prototype', Object.create(null), '[Object: null prototype] {}'],
    ['a long text', 'x'.repeat(1_000), 'x'.repeat(500)],
  ])('that throws %s has failed all the same', async (_what, thrown, error) => {
    const jobId = await submit()
    await poll(
      working(() => {
        throw thrown
      }),
    )

    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'retrying', error })
  })

  test('that cannot be begun has used up no delivery', async () => {
    const jobId = await submit()
    await raw.del(jobs.jobKey(jobId))
    await raw.set(jobs.jobKey(jobId), 'no hash')
    const consumers = working(() => raw.pttl(jobs.jobKey(jobId)))
    expect(await poll(consumers)).toMatchObject({ released: 1, retried: 0 })
    await raw.del(jobs.jobKey(jobId))
    await settle(consumers)

    const done = await jobs.readJob(jobId)
    expect(done).toMatchObject({ type: 'CountPrimes', state: 'done', attempts: 1 })
    expect(done?.result).toBeGreaterThan(jobs.MAX_AGE_MS)
  })
})

describe('progress', () => {
  test('never goes back: not in a second attempt, nor by one that is late', async () => {
    const jobId = await submit()
    const seen: (number | undefined)[] = []
    let first: Job<unknown> | undefined
    const consumers = working(async (job) => {
      first ??= job
      for (const percent of job.attempt === 1 ? [10, 60, 30] : [5, 20, 70]) {
        await job.progress(percent)
        seen.push((await jobs.readJob(jobId))?.progress)
      }
      if (job.attempt === 1) throw new Error('the first attempt fails')
      await first.progress(65)
      seen.push((await jobs.readJob(jobId))?.progress)
    })
    await settle(consumers)
    await first?.progress(99)
    seen.push((await jobs.readJob(jobId))?.progress)

    expect(seen).toEqual([10, 60, 60, 60, 60, 70, 70, 100])
  })

  test.each(['answers', 'fails'])(
    'of two attempts at once is the higher one; the late attempt, that %s, ends nothing',
    async (how) => {
      const jobId = await submit()
      const [begun, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const seen: (number | undefined)[] = []
      const frozen = working(async ({ progress }) => {
        await progress(80)
        begun.resolve()
        await go.promise
        await progress(90)
        if (how === 'fails') throw new Error('of the first')
        return 'of the first'
      })
      const running = poll(frozen)
      await begun.promise
      // another process takes over what this one holds, as if it had been frozen for long
      await raw.del('{jobs}:normal:work:slot:poller-0')
      const [[id] = []] = (await raw.xpending('{jobs}:normal', 'work', '-', '+', 1)) as [string][]
      await raw.xclaim('{jobs}:normal', 'work', 'poller-0', 0, id as string, 'IDLE', 600_000, 'JUSTID')
      const second = working(async ({ progress }) => {
        await progress(20)
        seen.push((await jobs.readJob(jobId))?.progress)
        go.resolve()
        await running
        seen.push((await jobs.readJob(jobId))?.progress)
        expect(await jobs.readJob(jobId)).toMatchObject({ state: 'running' })
        return 'of the second'
      })
      await jobs.claim(second, { redis: jobs.redis })

      expect(seen[0]).toBe(80)
      expect(seen[1]).toBe(90)
      expect(await jobs.readJob(jobId)).toMatchObject({ state: 'done', attempts: 2, result: 'of the second' })
    },
  )

  test('is 0 to 100, and what cannot be written is left out', async () => {
    const jobId = await submit()
    const errors: unknown[] = []
    const consumers = working(async ({ progress }) => {
      for (const percent of [-1, 101, Number.NaN]) await progress(percent).catch((error) => errors.push(error))
      await raw.set(jobs.jobKey(jobId), 'no hash')
      await progress(50)
      await raw.del(jobs.jobKey(jobId))
      await progress(50)
      return await raw.exists(jobs.jobKey(jobId))
    })
    await settle(consumers)

    expect(errors).toEqual([expect.any(RangeError), expect.any(RangeError), expect.any(RangeError)])
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'done', result: 0 })
  })
})

describe('cancel', () => {
  test('before the start: the job never starts, and is no dead letter', async () => {
    const jobId = await submit()
    let calls = 0
    expect(await jobs.cancel(jobId)).toBe('canceled')
    await settle(working(() => ++calls))

    expect(calls).toBe(0)
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'canceled', attempts: 0 })
    expect(await raw.keys('*:dlq')).toEqual([])
    expect(await jobs.cancel(jobId)).toBe('canceled')
  })

  test('between two attempts: there is no second one', async () => {
    const jobId = await submit()
    const consumers = working(() => {
      throw new Error('fails')
    })
    await poll(consumers)
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'retrying', error: 'fails' })
    expect(await jobs.cancel(jobId)).toBe('canceled')
    await settle(consumers)

    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'canceled', attempts: 1 })
  })

  test('while it runs: its signal is aborted within two seconds, and it comes not again', async () => {
    const jobId = await submit()
    const begun = Promise.withResolvers<void>()
    let abortedAt = 0
    const consumers = working(async ({ signal }) => {
      begun.resolve()
      await sleep(60_000, undefined, { signal }).finally(() => (abortedAt = performance.now()))
    })
    const running = poll(consumers)
    await begun.promise
    const canceledAt = performance.now()
    expect(await jobs.cancel(jobId)).toBe('canceling')
    await running

    expect(abortedAt - canceledAt).toBeLessThan(2_000)
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'canceled', attempts: 1 })
    expect(await raw.keys('*:dlq')).toEqual([])
    const asked = vi.spyOn(jobs.client, 'hexists')
    await sleep(600)
    expect(asked).not.toHaveBeenCalled()
  })

  test('while its process is dead: it does not start again', async () => {
    const jobId = await submit()
    let calls = 0
    const consumers = working(() => ++calls)
    await raw.hset(jobs.jobKey(jobId), 'state', 'running', 'run', 'of a process that died')
    expect(await jobs.cancel(jobId)).toBe('canceling')
    await settle(consumers)

    expect(calls).toBe(0)
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'canceled' })
  })

  test('between two attempts, while a late one still runs: its signal is aborted, too', async () => {
    const jobId = await submit()
    const begun = Promise.withResolvers<void>()
    let abortedAt = 0
    const late = working(async ({ signal }) => {
      begun.resolve()
      await sleep(60_000, undefined, { signal }).finally(() => (abortedAt = performance.now()))
    })
    const running = poll(late)
    await begun.promise
    // the attempt that overtook it has failed
    await raw.hset(jobs.jobKey(jobId), 'run', 'of another', 'state', 'retrying')
    const canceledAt = performance.now()
    expect(await jobs.cancel(jobId)).toBe('canceled')
    await running

    expect(abortedAt - canceledAt).toBeLessThan(2_000)
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'canceled' })
  })

  test('of one that failed: it does not come back by a redrive', async () => {
    const [kept, canceled] = [await submit(), await submit()]
    let isWell = false
    const consumers = working(() => {
      if (!isWell) throw new jobs.NonRetryableError('fails')
    })
    await settle(consumers)
    expect(await jobs.cancel(canceled)).toBe('failed')
    isWell = true
    for (const one of consumers) await jobs.redriveDeadLetters(one, { redis: jobs.redis, all: true })
    await settle(consumers)

    expect(await jobs.readJob(kept)).toMatchObject({ state: 'done', attempts: 2 })
    expect(await jobs.readJob(canceled)).toMatchObject({ state: 'canceled', attempts: 1 })
  })

  test('of one that does not listen, or has ended: it is what it has become', async () => {
    const jobId = await submit()
    const consumers = working(async () => void (await jobs.cancel(jobId)))
    await settle(consumers)

    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'done' })
    expect(await jobs.cancel(jobId)).toBe('done')
    expect(await jobs.cancel('nobody')).toBe('unknown')
    expect(await raw.exists(jobs.jobKey('nobody'))).toBe(0)
  })
})

describe('a type', () => {
  const send = () => jobs.submit(jobs.SendMail, { to: 'ada@example.com', text: 'Hello' })

  test('has its own count of attempts and time between them', async () => {
    mail.answer = (n) => (n < 3 ? 503 : 200)
    const jobId = await send()
    await poll()
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'retrying', error: 'the mail service answered 503' })
    await settle()
    const [first = 0, second = 0, third = 0] = mail.requests.map(({ at }) => at)
    expect(second - first).toBeGreaterThanOrEqual(499)
    expect(third - second).toBeGreaterThanOrEqual(1_999)

    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'done', attempts: 3, result: { status: 200 } })
    expect(mail.requests.map(({ headers }) => headers['idempotency-key'])).toEqual([jobId, jobId, jobId])
    expect(await raw.pttl(jobs.resultKey(jobId))).toBeLessThanOrEqual(3_600_000)
  })

  test('whose job fails for good has a dead letter, a notice and a row', async () => {
    mail.answer = () => 400
    const ids = [await send(), await send(), await send()]
    await settle()

    expect(await Promise.all(ids.map(jobs.readJob))).toEqual(
      ids.map(() => expect.objectContaining({ state: 'failed', attempts: 1, error: 'the mail service answered 400' })),
    )
    expect(sns.requests).toHaveLength(1)
    const notice = Object.fromEntries(new URLSearchParams(sns.requests[0]?.body))
    expect(notice).toMatchObject({ Action: 'Publish', Subject: 'A job failed: SendMail' })
    expect(JSON.parse(notice.Message ?? '')).toMatchObject({
      type: 'SendMail',
      reason: 'non-retryable',
      error: 'NonRetryableError',
      deadLetters: '{jobs}:normal:work:dlq',
    })
    expect(notice.Message).not.toContain('ada@')
    const error = 'the mail service answered #'
    expect(await jobs.api({ action: 'report' })).toEqual([
      { type: 'SendMail', reason: 'non-retryable', error, count: 3 },
    ])
  })

  test('whose dead letters nobody wanted loses them after two weeks, and has an owner', async () => {
    mail.answer = () => 400
    await send()
    await settle()
    const dlq = '{jobs}:normal:work:dlq'
    const [[, fields] = []] = (await raw.xrange(dlq, '-', '+')) as [string, string[]][]
    await raw.del(dlq)
    const weeksAgo = (days: number) => `${Date.now() - days * 86_400_000}-0`
    await raw.xadd(dlq, weeksAgo(15), ...(fields as string[]))
    await raw.xadd(dlq, weeksAgo(13), ...(fields as string[]))
    await jobs.janitor({ source: 'aws.scheduler' }, lambdaContext('janitor'))

    expect(await raw.xlen(dlq)).toBe(1)
    const owned = expect.objectContaining({ owner: 'team-jobs' })
    for (const { stream } of jobs.work)
      expect(await jobs.registeredGroups(stream, { redis: jobs.redis })).toEqual(new Map([['work', owned]]))
  })

  test.each([
    ['the notice', true],
    ['the report, where nobody was noticed,', false],
  ])('whose job takes its process with it each time: %s says so', async (_what, isNoticed) => {
    const jobId = await submit()
    const [{ stream, group }] = jobs.work.filter((one) => one.stream === '{jobs}:normal') as [Jobs['work'][number]]
    await raw.xgroup('CREATE', stream, group, '0')
    const [[id] = []] = await raw.xrange(stream, '-', '+')
    await raw.xreadgroup('GROUP', group, 'poller-0', 'STREAMS', stream, '>')
    await raw.hset(jobs.jobKey(jobId), 'state', 'running')
    await raw.xclaim(stream, group, 'poller-0', 0, id as string, 'IDLE', 600_000, 'RETRYCOUNT', 3, 'JUSTID')
    await jobs.claim(isNoticed ? jobs.work : working(() => 0), { redis: jobs.redis })
    expect(await jobs.readJob(jobId)).toMatchObject({ state: isNoticed ? 'failed' : 'running' })
    expect(sns.requests).toHaveLength(isNoticed ? 1 : 0)

    expect(await jobs.api({ action: 'report' })).toEqual([
      { type: 'CountPrimes', reason: 'crashed', error: '', count: 1 },
    ])
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'failed', error: 'crashed' })
    await raw.hset(jobs.jobKey(jobId), 'state', 'done')
    await jobs.api({ action: 'report' })
    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'done' })
  })

  test('has its own number of jobs at once', async () => {
    let [now, most] = [0, 0]
    mail.answer = async () => {
      most = Math.max(most, ++now)
      await sleep(100)
      now--
      return 200
    }
    await Promise.all(Array.from({ length: 12 }, send))
    await settle()

    expect(most).toBe(8)
  })

  test('that is sent on elsewhere goes nowhere', async () => {
    mail.answer = () => 302
    const jobId = await send()
    await poll()

    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'failed', error: 'the mail service answered 302' })
    expect(mail.requests).toHaveLength(1)
  })

  test('whose job has waited for six days is a dead letter, with a state', async () => {
    const jobId = await submit()
    const [[, fields] = []] = (await raw.xrange('{jobs}:normal', '-', '+')) as [string, string[]][]
    await raw.del('{jobs}:normal')
    await raw.xadd('{jobs}:normal', `${Date.now() - jobs.MAX_AGE_MS - 1_000}-0`, ...(fields as string[]))
    await settle()

    expect(await jobs.readJob(jobId)).toMatchObject({ state: 'failed', attempts: 0 })
    expect(jobs.KEEP_MS).toBeGreaterThan(jobs.MAX_AGE_MS)
  })

  test('whose notice is refused leaves it to the next dead letter', async () => {
    mail.answer = () => 400
    sns.answer = () => 400
    await send()
    await settle()
    sns.answer = () => 200
    const refused = sns.requests.length
    await send()
    await settle()

    expect(refused).toBeGreaterThan(0)
    expect(sns.requests).toHaveLength(refused + 1)
  })

  test('is added by naming a function, to a poller that runs already', async () => {
    const code = `export const handler = async ({ jobId, type, input, attempt }) => {
      if (input.sleepMs) await new Promise((resolve) => setTimeout(resolve, input.sleepMs))
      if (input.fail >= attempt) throw new TypeError('attempt ' + attempt + ' fails')
      return { jobId, type, text: input.text.toUpperCase(), attempt }
    }`
    const lambda = await startLambda({ functions: [await aFunction(code, { name: 'shout' })] })
    vi.stubEnv('AWS_ENDPOINT_URL_LAMBDA', lambda.url)
    onTestFinished(() => void vi.stubEnv('AWS_ENDPOINT_URL_LAMBDA', 'http://127.0.0.1:1'))
    const ask = (input: object) => jobs.api({ action: 'submit', type: 'Shout', input }) as Promise<string>
    await expect(ask({ text: 'a' })).rejects.toThrow('No jobs are of type "Shout"')
    const running = jobs.poll(jobs.work, {
      redis: jobs.redis,
      mode: 'listen',
      remainingMs: 65_000,
      signal: stop.signal,
    })
    const input = { functionName: 'shout', retryAfterMs: 1, maxDeliveries: 2 }
    await jobs.api({ action: 'configure', type: 'Shout', input })
    const [first, again, never] = [await ask({ text: 'a' }), await ask({ text: 'b', fail: 1 }), await ask({ fail: 9 })]
    const read = async () => (await Promise.all([first, again, never].map(jobs.readJob))).map((job) => job?.state)
    await expect.poll(read, { timeout: 20_000 }).toEqual(['done', 'done', 'failed'])
    stop.abort()
    await running

    expect(await jobs.readJob(first)).toMatchObject({
      type: 'Shout',
      result: { jobId: first, type: 'Shout', text: 'A', attempt: 1 },
    })
    expect(await jobs.readJob(again)).toMatchObject({ attempts: 2, result: { text: 'B', attempt: 2 } })
    expect(await jobs.readJob(never)).toMatchObject({ attempts: 2, error: 'shout: TypeError: attempt 2 fails' })
    expect(await jobs.api({ action: 'report' })).toMatchObject([{ type: 'Shout', count: 1 }])
    await Promise.all(Array.from({ length: 8 }, () => ask({ text: 'at once', sleepMs: 200 })))
    await settle()
    expect(lambda.environments('shout')).toHaveLength(4)

    await jobs.api({ action: 'configure', type: 'Shout', input: { ...input, timeoutMs: 100, maxDeliveries: 1 } })
    const slow = await ask({ text: 'c', sleepMs: 1_000 })
    await poll()
    expect(await jobs.readJob(slow)).toMatchObject({ state: 'failed', attempts: 1 })
  }, 40_000)
  const stop = new AbortController()
})

test('every function works under the rights that the README gives it', async () => {
  const readme = readFileSync(new URL('../../examples/jobs/README.md', import.meta.url), 'utf8')
  const rights = new Map(
    [...readme.matchAll(/^(poller, claimer|api|janitor) +(~.*)$/gm)].map(([, who = '', access = '']) => [who, access]),
  )
  const { poller, claimer } = accessOf(jobs.work)
  const users = {
    poller: `${poller} ${rights.get('poller, claimer')}`,
    claimer: `${claimer} ${rights.get('poller, claimer')}`,
    api: rights.get('api'),
    janitor: rights.get('janitor'),
  }
  const parts: Record<string, Jobs> = {}
  for (const [user, access = ''] of Object.entries(users)) {
    await raw.call('ACL', 'SETUSER', user, 'reset', 'on', '>p', ...(access.match(/\([^)]*\)|\S+/g) ?? []))
    vi.resetModules()
    parts[user] = await load({ REDIS_URL: server.url.replace('redis://', `redis://${user}:p@`) })
  }
  onTestFinished(async () => {
    for (const { client, redis } of Object.values(parts)) {
      client.disconnect()
      await redis.close()
    }
  })
  const { api, ...others } = parts as Record<'api' | 'poller' | 'claimer' | 'janitor', Jobs>
  const ask = (action: string, request: object) => api.api({ action, ...request }) as Promise<string>
  mail.answer = (n) => (n === 1 ? 503 : 400)
  await ask('configure', { type: 'Slugify', input: { functionName: 'nobody', retryAfterMs: 60_000 } })
  const input = { to: 'ada@example.com', text: 'Hello' }
  const ids = [
    await ask('submit', { type: 'SendMail', input }),
    await ask('submit', { type: 'CountPrimes', input: { below: 100_000 } }),
    await ask('submit', { type: 'Slugify', input: 'a', priority: 'low' }),
    await ask('submit', { type: 'CountPrimes', input: { below: 10 }, priority: 'high' }),
  ]
  expect(await ask('cancel', { jobId: ids[3] })).toBe('canceled')
  const listening = others.poller.poll(others.poller.work, { redis: others.poller.redis, remainingMs: 26_000 })
  const states = async () => Promise.all(ids.map(async (jobId) => (await jobs.readJob(jobId))?.state))
  await expect.poll(states, { timeout: 10_000 }).toEqual(['failed', 'done', 'retrying', 'canceled'])
  await listening
  await others.claimer.claim(others.claimer.work, { redis: others.claimer.redis })
  expect(await ask('report', {})).toEqual([expect.objectContaining({ type: 'SendMail', count: 1 })])
  await others.janitor.janitor({ source: 'aws.scheduler' }, lambdaContext('janitor'))

  expect(await raw.acl('LOG')).toEqual([])
}, 40_000)
