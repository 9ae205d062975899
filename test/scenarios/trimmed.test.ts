import { execFileSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Report } from 'millrace'
import { NonRetryableError, poll, RetryAfterError } from 'millrace'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startRedisServer } from '../../tools/redis-server.ts'
import { claimOnce } from '../support/claim-once.ts'
import { connectLike62, LIKE_62, TRIMMED } from '../support/redis-62.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, DLQ, difference, names, noting, startScenario } from '../support/scenario.ts'

const DUE = '{orders}:billing:due'
const RETRIED_AT_ONCE = { backoff: { firstMs: 0 } }

/** Where entries are trimmed: on servers that purge them from the pending list when a claim comes across them, or that keep them (6.2). */
interface World {
  readonly world: string
  readonly program?: string
  readonly isLike62?: boolean
}

const BINARIES = (process.env.MILLRACE_REDIS_BINARIES ?? '').split(/[:,\s]+/).filter(Boolean)

const WORLDS: readonly World[] = [
  { world: 'the server of every test' },
  { world: 'the replies of Redis 6.2', isLike62: true },
  ...BINARIES.map((program) => ({ world: program, program })),
]

async function startWorld({ program, isLike62 }: World) {
  const scenario = await startScenario({
    server: { program },
    ...(isLike62 && { connect: connectLike62 }),
  })
  const { raw } = scenario
  return {
    ...scenario,
    trim: (...ids: string[]): Promise<number> => (isLike62 ? raw.sadd(TRIMMED, ...ids) : raw.xdel('orders', ...ids)),
  }
}

/** How many entries are pending, as a second client sees it. */
async function pendingCount(raw: Scenario['raw']): Promise<unknown> {
  const [count] = await raw.xpending('orders', 'billing')
  return count
}

/** Claims until a whole lap found nothing. */
async function claimAll(
  consumer: Parameters<typeof claimOnce>[0],
  { redis }: Pick<Scenario, 'redis'>,
): Promise<Report[]> {
  const reports: Report[] = []
  do reports.push(await claimOnce(consumer, { redis }))
  while (reports.length < 5 && (reports.at(-1)?.claimed ?? 0) > 0)
  return reports
}

function lostIn(...reports: readonly Report[]): number {
  return reports.reduce((sum, { lost }) => sum + lost, 0)
}

function differences(...reports: readonly Report[]): number[] {
  return [...new Set(reports.map(difference))]
}

describe.each(WORLDS)('promise 9: trimmed while pending is counted as lost, on $world', (world) => {
  it('also when it is a whole page and more, and the others are handled', async () => {
    const scenario = await startWorld(world)
    const { redis, raw, publish, trim } = scenario
    let isFailing = true
    const { calls, handler } = noting(() => {
      if (isFailing) throw new Error('no')
    })
    const consumer = billing(handler, RETRIED_AT_ONCE)
    const gone = await publish(...names('gone', 230))
    await publish(...names('kept', 5))
    await poll(consumer, { redis })
    await trim(...gone)
    isFailing = false
    calls.length = 0

    const reports = await claimAll(consumer, scenario)

    expect(calls).toEqual(names('kept', 5))
    expect([lostIn(...reports), differences(...reports), await pendingCount(raw)]).toEqual([230, [0], 0])
    expect(reports.map(({ drained }) => drained)).not.toContain(false)
  })

  it('also what a dead process held, without a run of its own', async () => {
    const scenario = await startWorld(world)
    const { redis, raw, publish, trim, age, deadLetters } = scenario
    const { calls, handler } = noting()
    const consumer = billing(handler, { ...RETRIED_AT_ONCE, maxDeliveries: 3, concurrency: 3 })
    await poll(consumer, { redis })
    const gone = await publish(...names('gone', 12))
    await publish('kept')
    await raw.xreadgroup('GROUP', 'billing', 'poller-9', 'STREAMS', 'orders', '>')
    await age(60_000)
    for (const [n, id] of gone.entries())
      await raw.call(
        'xclaim',
        'orders',
        'billing',
        'poller-9',
        0,
        id,
        'IDLE',
        60_000,
        'RETRYCOUNT',
        1 + (n % 3),
        'JUSTID',
      )
    await trim(...gone)

    const reports = await claimAll(consumer, scenario)

    expect(calls).toEqual(['kept'])
    expect([lostIn(...reports), differences(...reports), await pendingCount(raw)]).toEqual([12, [0], 0])
    expect(await deadLetters()).toEqual([])
  })

  it.each<{ readonly how: string; act(): unknown }>([
    { how: 'succeeds', act: () => {} },
    { how: 'fails', act: () => Promise.reject(new Error('no')) },
    { how: 'fails for long', act: () => Promise.reject(new RetryAfterError(3_600_000)) },
    { how: 'fails for good', act: () => Promise.reject(new NonRetryableError('no')) },
  ])('also while its handler runs and $how, under a poller and under a claimer', async ({ how, act }) => {
    const scenario = await startWorld(world)
    const { redis, raw, publish, trim, age, deadLetters } = scenario
    const { calls, handler } = noting(async (event, { entryId, deliveryCount }) => {
      const { orderId } = (event as { payload: { orderId: string } }).payload
      if (orderId === 'claimed' && deliveryCount === 1) throw new Error('no')
      await trim(entryId)
      await act()
    })
    const consumer = billing(handler, RETRIED_AT_ONCE)
    await publish('polled', 'claimed')

    const reports = [await poll(consumer, { redis }), await claimOnce(consumer, { redis })]
    if (world.isLike62 || !(await isPurging(raw))) await age(60_000)
    reports.push(...(await claimAll(consumer, scenario)))

    expect(calls).toEqual(['polled', 'claimed', 'claimed'])
    expect([lostIn(...reports), differences(...reports)]).toEqual([how === 'succeeds' ? 0 : 2, [0]])
    expect([await pendingCount(raw), await raw.exists(DUE), await deadLetters()]).toEqual([0, 0, []])
  })

  it('also before its handler could start', async () => {
    const scenario = await startWorld(world)
    const { redis, raw, publish, trim } = scenario
    const stop = new AbortController()
    const ids: string[] = []
    const { calls, handler } = noting(async () => {
      stop.abort()
      await trim(...ids.slice(1))
    })
    const consumer = billing(handler, { concurrency: 1 })
    ids.push(...(await publish('kept', 'gone-1', 'gone-2')))

    const reports = [await poll(consumer, { redis, signal: stop.signal }), ...(await claimAll(consumer, scenario))]

    expect(calls).toEqual(['kept'])
    expect([lostIn(...reports), differences(...reports), await pendingCount(raw)]).toEqual([2, [0], 0])
  })

  it('also while it is set aside, and its place in the index goes with it', async () => {
    const scenario = await startWorld(world)
    const { redis, raw, publish, trim, age } = scenario
    const { calls, handler } = noting(() => {
      throw new RetryAfterError(3_600_000)
    })
    const consumer = billing(handler)
    const [gone = ''] = await publish('gone', 'kept')
    await poll(consumer, { redis })
    await age(60_000)
    await trim(gone)

    const reports = await claimAll(consumer, scenario)

    expect([calls, lostIn(...reports), await pendingCount(raw)]).toEqual([['gone', 'kept'], 1, 1])
    expect([await raw.zscore(DUE, gone), await raw.zcard(DUE)]).toEqual([null, 1])
  })

  it('also after its dead letter was refused, and no letter is written of nothing', async () => {
    const scenario = await startWorld(world)
    const { redis, raw, publish, trim, age, deadLetters } = scenario
    const { calls, handler } = noting(() => {
      throw new NonRetryableError('no')
    })
    const consumer = billing(handler)
    await raw.set(DLQ, 'no stream')
    const [gone = ''] = await publish('gone', 'kept')
    await expect(poll(consumer, { redis })).rejects.toMatchObject({ report: { unsettled: 2 } })
    await age(60_000)
    await trim(gone)
    await raw.del(DLQ)

    const reports = await claimAll(consumer, scenario)

    expect(calls).toEqual(['gone', 'kept', 'kept'])
    expect([lostIn(...reports), differences(...reports), await pendingCount(raw)]).toEqual([1, [0], 0])
    expect((await deadLetters()).map(({ fields }) => fields.at(-1)?.[1])).toEqual(['{"orderId":"kept"}'])
  })

  it('also after its last delivery, where the claimer writes the dead letters', async () => {
    const scenario = await startWorld(world)
    const { redis, raw, publish, trim, age, deadLetters } = scenario
    const { calls, handler } = noting()
    const consumer = billing(handler, { maxDeliveries: 1 })
    await poll(consumer, { redis })
    const [gone = ''] = await publish('gone', 'kept')
    await raw.xreadgroup('GROUP', 'billing', 'poller-9', 'STREAMS', 'orders', '>')
    await age(60_000)
    await trim(gone)

    const reports = await claimAll(consumer, scenario)

    expect([calls, lostIn(...reports), differences(...reports), await pendingCount(raw)]).toEqual([[], 1, [0], 0])
    expect((await deadLetters()).map(({ head, fields }) => [head.reason, fields.at(-1)?.[1]])).toEqual([
      ['crashed', '{"orderId":"kept"}'],
    ])
  })

  it('once, also where a claimer comes by while its poller runs and renews it', async () => {
    const scenario = await startWorld(world)
    const { redis, raw, connect, publish, trim, age } = scenario
    const release = Promise.withResolvers<void>()
    const { calls, handler } = noting(async () => {
      if (calls.length === 2) await trim(...gone)
      await release.promise
      throw new Error('no')
    })
    const consumer = billing(handler, {
      ...RETRIED_AT_ONCE,
      minIdleMs: 60,
      handlerTimeoutMs: 20_000,
      allowLongHandlers: true,
    })
    const gone = await publish('a', 'b')

    const polling = poll(consumer, { redis })
    await expect.poll(() => calls.length).toBe(2)
    const reports = [await claimOnce(consumer, { redis: connect() })]
    await delay(100)
    release.resolve()
    reports.push(await polling)
    if (world.isLike62 || !(await isPurging(raw))) await age(60_000)
    reports.push(...(await claimAll(consumer, scenario)))

    expect([calls, lostIn(...reports), differences(...reports)]).toEqual([['a', 'b'], 2, [0]])
    expect(await pendingCount(raw)).toBe(0)
  })
})

/** Whether a claim purges what was trimmed: from 7.0 on. A look by XCLAIM, such as a test's, would purge it, too. */
async function isPurging(raw: Scenario['raw']): Promise<boolean> {
  const version = /redis_version:(\d+)/.exec(await raw.info('server'))?.[1]
  return Number(version) >= 7
}

/** The recorded replies: the same commands, with 2-0 trimmed of three pending entries. */
const RECORDED: readonly { readonly command: readonly string[]; readonly reply: unknown }[] = [
  {
    command: ['XAUTOCLAIM', 'orders', 'billing', 'b', '0', '0-0', 'COUNT', '10'],
    reply: ['0-0', [['1-0', ['f', 'v1']], null, ['3-0', ['f', 'v3']]]],
  },
  {
    command: ['XAUTOCLAIM', 'orders', 'billing', 'b', '0', '0-0', 'COUNT', '10', 'JUSTID'],
    reply: ['0-0', ['1-0', '2-0', '3-0']],
  },
  { command: ['XCLAIM', 'orders', 'billing', 'c', '0', '2-0', 'RETRYCOUNT', '7'], reply: [null] },
  { command: ['XCLAIM', 'orders', 'billing', 'd', '0', '2-0', 'JUSTID'], reply: ['2-0'] },
  { command: ['XRANGE', 'orders', '2-0', '2-0'], reply: [] },
  { command: ['XACK', 'orders', 'billing', '2-0'], reply: 1 },
]

describe('the replies of Redis 6.2 are those recorded', () => {
  const REALLY_62 = BINARIES.filter((program) => String(execFileSync(program, ['--version'])).includes(' v=6.2.')).map(
    (program) => ({ world: program, program }),
  )

  it.each<World>([{ world: 'its stand-in', isLike62: true }, ...REALLY_62])(
    'by $world',
    async ({ program, isLike62 }) => {
      const server = await startRedisServer({ program })
      const raw = new Redis(server.url)
      onTestFinished(async () => {
        raw.disconnect()
        await server.stop()
      })
      await raw.xgroup('CREATE', 'orders', 'billing', '0', 'MKSTREAM')
      for (const n of [1, 2, 3]) await raw.xadd('orders', `${n}-0`, 'f', `v${n}`)
      await raw.xreadgroup('GROUP', 'billing', 'a', 'STREAMS', 'orders', '>')
      await (isLike62 ? raw.sadd(TRIMMED, '2-0') : raw.xdel('orders', '2-0'))
      const owners: unknown[] = []
      const replies: unknown[] = []
      for (const { command } of RECORDED) {
        replies.push(
          await raw.eval(`${isLike62 ? LIKE_62 : ''} return redis.call(unpack(ARGV))`, 1, 'orders', ...command),
        )
        const [row] = (await raw.xpending('orders', 'billing', '2-0', '2-0', 1)) as unknown[][]
        owners.push(row && [row[1], row[3]])
      }

      expect(replies).toEqual(RECORDED.map(({ reply }) => reply))
      expect(owners).toEqual([['b', 2], ['b', 2], ['c', 7], ['d', 7], ['d', 7], undefined])
    },
  )
})
