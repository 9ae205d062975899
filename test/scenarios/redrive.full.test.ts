import { randomBytes } from 'node:crypto'
import type { Consumer, HandlerContext } from 'millrace'
import { NonRetryableError, poll } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import type { RedriveDeadLettersOptions } from 'millrace/operate'
import { dropDeadLetters, listDeadLetters, readDeadLetter, redriveDeadLetters } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { redriveDeadLetters as redriveFromSource } from '../../src/operate/dead-letters/dead-letters.ts'
import { claimOnce } from '../support/claim-once.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { connectLike62, TRIMMED } from '../support/redis-62.ts'
import { startRestServer } from '../support/rest-server.ts'
import type { ScenarioOptions } from '../support/scenario.ts'
import { billing, DLQ, noting, startScenario } from '../support/scenario.ts'
import { startMonitor } from '../support/start-monitor.ts'

const DUE = '{orders}:billing:due'
const MAX_PAIRS = 3_900

/** What a call gave its handler. */
type Call = Pick<HandlerContext, 'entryId' | 'deliveryCount' | 'idempotencyKey'> & { readonly orderId: string }

/** Two groups on one stream. Group `search` handles everything; `billing` fails for good while `isBroken`. */
async function startShop(options?: ScenarioOptions) {
  const scenario = await startScenario(options)
  const calls: Record<'billing' | 'search', Call[]> = { billing: [], search: [] }
  const broken = { isBroken: true }
  const note = (group: 'billing' | 'search') =>
    noting((event, { entryId, deliveryCount, idempotencyKey }) => {
      const { orderId } = (event as { payload: { orderId: string } }).payload
      calls[group].push({ orderId, entryId, deliveryCount, idempotencyKey })
      if (group === 'billing' && broken.isBroken) throw new NonRetryableError('card declined')
    }).handler
  const search = billing(note('search'), { group: 'search' })
  const consumer = billing(note('billing'))
  const runAll = async (redis = scenario.redis) => {
    for (const one of [consumer, search]) {
      await poll(one, { redis })
      await claimOnce(one, { redis })
    }
  }
  return {
    ...scenario,
    consumer,
    search,
    calls,
    runAll,
    /** Publishes orders, has both groups run, and billing's cause fixed; answers the entries' ids. */
    async bury(...orderIds: string[]) {
      broken.isBroken = true
      const ids = await scenario.publish(...orderIds)
      await runAll()
      broken.isBroken = false
      calls.billing = []
      calls.search = []
      return ids
    },
    redrive: (more: Partial<RedriveDeadLettersOptions> = { all: true }) =>
      redriveDeadLetters(consumer, { redis: scenario.redis, ...more }),
  }
}

type Shop = Awaited<ReturnType<typeof startShop>>

/** The counts that are not 0. */
function some(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0))
}

async function listed(source: Consumer, { redis }: Shop, filters = {}): Promise<unknown[]> {
  const found = []
  for await (const letter of listDeadLetters(source, { redis, ...filters })) found.push(letter)
  return found
}

/** All that a redrive may touch, as it is. */
async function everything({ raw }: Shop): Promise<unknown> {
  const keys = (await raw.keys('*')).sort()
  const dumps = await Promise.all(keys.map((key) => raw.dumpBuffer(key)))
  return keys.map((key, n) => [key, dumps[n]?.toString('hex')])
}

describe('redriveDeadLetters()', () => {
  it('has only the group that failed an entry handle it, once, from the first delivery', async () => {
    const shop = await startShop()
    const [id] = await shop.bury('a')
    expect(await shop.deadLetters()).toHaveLength(1)

    const counts = await shop.redrive()
    const letters = await shop.deadLetters()
    const pending = [await shop.pending(), await shop.pending('search')]
    await shop.runAll()
    await shop.runAll()

    expect([some(counts), letters]).toEqual([{ found: 1, redriven: 1 }, []])
    expect(pending).toEqual([[['a', 'parked', 0]], []])
    expect(shop.calls).toEqual({
      billing: [{ orderId: 'a', entryId: id, deliveryCount: 1, idempotencyKey: expect.stringMatching(/^billing:/) }],
      search: [],
    })
    expect([await shop.pending(), await shop.deadLetters(), await shop.raw.xlen('orders')]).toEqual([[], [], 1])
  })

  it('counts deliveries anew: an entry that fails again gets all of them, and one dead letter', async () => {
    const shop = await startShop()
    const [id] = await shop.bury('a')
    const deliveries: number[] = []
    const consumer = billing(
      (_event, { deliveryCount }) => {
        deliveries.push(deliveryCount)
        throw new Error('still')
      },
      { maxDeliveries: 3, backoff: { firstMs: 0 } },
    )
    await shop.redrive()
    for (let run = 0; run < 4; run++) await claimOnce(consumer, { redis: shop.redis })

    expect(deliveries).toEqual([1, 2, 3])
    expect((await shop.deadLetters()).map(({ head }) => [head.originalId, head.reason, head.deliveryCount])).toEqual([
      [id, 'max-deliveries', '3'],
    ])
  })

  it('removes a due time that was left behind', async () => {
    const shop = await startShop()
    const [id] = await shop.bury('a')
    await shop.raw.zadd(DUE, Date.now() + 3_600_000, String(id))

    await shop.redrive()
    await shop.runAll()

    expect([shop.calls.billing.length, await shop.raw.exists(DUE)]).toEqual([1, 0])
  })

  it('does nothing twice for two operators at once', async () => {
    const shop = await startShop()
    await shop.bury(...Array.from({ length: 25 }, (_, n) => `order ${n}`))
    const others = Array.from({ length: 3 }, () => shop.connect())

    const counts = await Promise.all(
      others.map((redis) => redriveDeadLetters(shop.consumer, { redis, all: true, limit: 25 })),
    )
    await shop.runAll()

    const sum = (name: 'redriven' | 'gone' | 'found') => counts.reduce((total, one) => total + one[name], 0)
    expect([sum('redriven'), sum('redriven') + sum('gone')]).toEqual([25, sum('found')])
    expect([new Set(shop.calls.billing.map(({ orderId }) => orderId)).size, shop.calls.billing.length]).toEqual([
      25, 25,
    ])
    expect(shop.calls.search).toEqual([])
  })

  it('finds a letter gone that another redrove after it was listed', async () => {
    const shop = await startShop()
    await shop.bury('a')
    const [letter] = await shop.deadLetters()
    const proxy = await startFaultProxy(shop.server)
    onTestFinished(() => proxy.close())
    const redis = shop.connect(proxy.url)
    await redriveDeadLetters(shop.consumer, { redis, all: true, dryRun: true }) // the script is known from here on
    const held = proxy.pauseOn('evalsha')
    const slow = redriveDeadLetters(shop.consumer, { redis, ids: [String(letter?.id)] })
    const request = await held
    await shop.redrive()
    await shop.runAll()
    const before = await everything(shop)
    request.release()

    expect(some(await slow)).toEqual({ found: 1, gone: 1 })
    expect(await everything(shop)).toEqual(before)
  })

  it.each([
    ['never reached the server', 'cutBefore', { redriven: 1 }],
    ['lost its answer', 'cutAfter', { gone: 1 }],
  ] as const)('is done once where the request %s and was sent again', async (_title, cut, outcome) => {
    const shop = await startShop()
    await shop.bury('a')
    const proxy = await startFaultProxy(shop.server)
    onTestFinished(() => proxy.close())
    const redis = shop.connect(proxy.url)
    await redriveDeadLetters(shop.consumer, { redis, all: true, dryRun: true })
    const sprung = proxy[cut]('evalsha')
    const counts = await redriveDeadLetters(shop.consumer, { redis, all: true })
    await sprung
    await shop.runAll()

    expect(some(counts)).toEqual({ found: 1, ...outcome })
    expect([shop.calls.billing.length, shop.calls.search, await shop.deadLetters()]).toEqual([1, [], []])
  })

  it('leaves each letter or its pending entry, never neither, where the connection is lost for good', async () => {
    const shop = await startShop()
    const ids = await shop.bury(...Array.from({ length: 30 }, (_, n) => `order ${n}`))
    const proxy = await startFaultProxy(shop.server)
    onTestFinished(() => proxy.close())
    const redis = shop.connect(proxy.url)
    let pages = 0
    const onProgress = () => {
      if (++pages === 1) void proxy.close()
    }
    await expect(redriveDeadLetters(shop.consumer, { redis, all: true, onProgress })).rejects.toMatchObject({
      code: 'ERR_REDIS_CONNECTION',
    })

    const left = (await shop.deadLetters()).map(({ head }) => head.originalId)
    const pending = (await shop.raw.xpending('orders', 'billing', '-', '+', 100)) as [string][]
    expect(pending).not.toEqual([])
    expect(new Set([...pending.map(([id]) => id), ...left])).toEqual(new Set(ids))
    expect(pending.length + left.length).toBe(ids.length)
  })

  it('changes nothing in a dry run, and says what would become of each letter', async () => {
    const shop = await startShop()
    const [, trimmed] = await shop.bury('a', 'trimmed')
    await shop.raw.xdel('orders', String(trimmed))
    const before = await everything(shop)
    const done: string[] = []

    const counts = await shop.redrive({
      all: true,
      dryRun: true,
      onProgress: (progress) => done.push(...progress.done.map(({ outcome }) => outcome)),
    })

    expect([some(counts), done]).toEqual([{ found: 2, redriven: 1, trimmed: 1 }, ['redriven', 'trimmed']])
    expect(some(await shop.redrive({ all: true, dryRun: true, republish: 'group' }))).toEqual({
      found: 2,
      redriven: 1,
      republished: 1,
    })
    expect(await everything(shop)).toEqual(before)
  })

  it('leaves the letter of an entry that is pending already', async () => {
    const shop = await startShop()
    await shop.bury('a')
    const [letter] = await shop.raw.xrange(DLQ, '-', '+')
    await shop.raw.xadd(DLQ, '*', ...(letter?.[1] ?? []))

    expect(some(await shop.redrive())).toEqual({ found: 2, redriven: 1, pending: 1 })
    await shop.raw.xclaim('orders', 'billing', 'poller-0', 0, letter?.[1][3] ?? '', 'RETRYCOUNT', 2)
    const before = await everything(shop)
    expect(some(await shop.redrive())).toEqual({ found: 1, pending: 1 })
    expect(await everything(shop)).toEqual(before)
  })

  it('leaves the letter of an entry that the group will read by itself', async () => {
    const shop = await startShop()
    await shop.bury('a', 'b')
    await shop.raw.xgroup('SETID', 'orders', 'billing', '0')

    const counts = await shop.redrive()
    await shop.runAll()

    expect([some(counts), (await shop.deadLetters()).length]).toEqual([{ found: 2, unread: 2 }, 2])
    expect(shop.calls.billing.map(({ orderId, deliveryCount }) => [orderId, deliveryCount])).toEqual([
      ['a', 1],
      ['b', 1],
    ])
  })

  it.each([
    ['group', (raw: Shop['raw']) => raw.xgroup('DESTROY', 'orders', 'billing')],
    ['stream', (raw: Shop['raw']) => raw.del('orders')],
  ])('leaves the letter where there is no %s', async (_what, lose) => {
    const shop = await startShop()
    await shop.bury('a')
    await lose(shop.raw)

    expect(some(await shop.redrive({ all: true, republish: 'all' }))).toEqual({ found: 1, noGroup: 1 })
    expect(await shop.deadLetters()).toHaveLength(1)
  })

  it('loses nothing where the group is lost before the claimer has started it', async () => {
    const shop = await startShop()
    const [id] = await shop.bury('a')
    await shop.bury('b')
    await shop.redrive({ types: ['OrderPaid'], limit: 1 })
    await shop.raw.xgroup('DESTROY', 'orders', 'billing')
    await shop.runAll()

    expect(shop.calls.billing.map(({ entryId }) => entryId)).toContain(id)
  })

  it('does not come upon what fails again while it is at work', async () => {
    const shop = await startShop()
    await shop.bury(...Array.from({ length: 15 }, (_, n) => `order ${n}`))
    const proxy = await startFaultProxy(shop.server)
    onTestFinished(() => proxy.close())
    const betweenPages = Promise.withResolvers<Awaited<ReturnType<typeof proxy.pauseOn>>>()
    const redriving = redriveDeadLetters(shop.consumer, {
      redis: shop.connect(proxy.url),
      all: true,
      onProgress: () => void proxy.pauseOn('xrange').then(betweenPages.resolve),
    })
    const held = await betweenPages.promise
    await claimOnce(
      billing(() => Promise.reject(new NonRetryableError('still'))),
      { redis: shop.redis },
    )
    held.release()

    expect(some(await redriving)).toEqual({ found: 15, redriven: 15 })
    expect(await shop.raw.xlen(DLQ)).toBe(10)
  })

  it('stops between pages once its signal is aborted, and reports what it did', async () => {
    const shop = await startShop()
    await shop.bury(...Array.from({ length: 15 }, (_, n) => `order ${n}`))
    const stop = new AbortController()

    const counts = await shop.redrive({ all: true, signal: stop.signal, onProgress: () => stop.abort() })

    expect([some(counts), await shop.raw.xlen(DLQ)]).toEqual([{ found: 10, redriven: 10 }, 5])
  })

  it('redrives an entry of bytes and of more pairs than a letter has', async () => {
    const shop = await startShop()
    const many = Array.from({ length: MAX_PAIRS + 1 }, () => [randomBytes(3), randomBytes(5)])
    const few = [Buffer.from('a'), Buffer.from([0xff, 0]), Buffer.from('a'), Buffer.alloc(0)]
    const received: (readonly (readonly unknown[])[])[] = []
    const malformed = { decode: () => ({ type: 'OrderPaid', payload: { orderId: 'x' } }) }
    const consumer = (fail: boolean) =>
      billing(
        (_event, { fields }) => {
          received.push(fields)
          if (fail) throw new NonRetryableError('no')
        },
        { codec: malformed },
      )
    await shop.raw.xadd('orders', '*', ...many.flat())
    await shop.raw.xadd('orders', '*', ...few)
    await poll(consumer(true), { redis: shop.redis })
    const letters = (await listed(consumer(true), shop)) as { fields: unknown }[]
    expect(some(await shop.redrive())).toEqual({ found: 2, redriven: 2 })
    await claimOnce(consumer(false), { redis: shop.redis })

    const [packed, plain] = received
    expect(received).toEqual([packed, plain, packed, plain])
    expect(packed).toEqual(many)
    expect(letters.map(({ fields }) => fields)).toEqual([packed, plain])
  })

  it('does it through a client with a keyPrefix, as it was set aside', async () => {
    const shop = await startShop({ connect: (url) => connectIoredis(url, { keyPrefix: 'app:' }) })
    await shop.bury('a')

    expect(some(await shop.redrive())).toEqual({ found: 1, redriven: 1 })
    await claimOnce(shop.consumer, { redis: shop.redis })
    expect(shop.calls.billing).toMatchObject([{ orderId: 'a', deliveryCount: 1 }])
  })

  it('does it over REST', async () => {
    const shop = await startShop()
    const [id] = await shop.bury('a ✓')
    const rest = await startRestServer({ redisUrl: shop.server.url, token: 'secret' })
    onTestFinished(() => rest.close())
    const redis = connect(rest.url.replace('://', '://:secret@'))
    onTestFinished(() => redis.close())

    const [letter] = (await listed(shop.consumer, { ...shop, redis }, { olderThanMs: 0 })) as { entryId: string }[]
    const counts = await redriveDeadLetters(shop.consumer, { redis, all: true })
    await shop.runAll(redis)

    expect([letter?.entryId, some(counts)]).toEqual([id, { found: 1, redriven: 1 }])
    expect(shop.calls.billing).toMatchObject([{ orderId: 'a ✓', entryId: id, deliveryCount: 1 }])
  })

  it('refuses what is no server, and to go without a filter', async () => {
    const redis = connectMemory()
    await expect(
      redriveDeadLetters(
        billing(() => {}),
        { redis, all: true },
      ),
    ).rejects.toThrow(
      new TypeError('Cannot redrive dead letters: redis must be a connection to a server, as from connectIoredis(url)'),
    )
    const shop = await startShop()
    await expect(shop.redrive({ limit: 5, ids: undefined as never })).rejects.toThrow(
      new TypeError(
        'Cannot redrive dead letters: one of types, reasons, orderingKeys, olderThanMs, newerThanMs, ids, upToId must say which, or all: true',
      ),
    )
  })
})

describe('redriveDeadLetters() of an entry that was trimmed from the stream', () => {
  async function buryAndTrim() {
    const shop = await startShop()
    const [id = ''] = await shop.bury('a')
    await shop.raw.xdel('orders', id)
    return { shop, id }
  }

  it('leaves the letter', async () => {
    const { shop } = await buryAndTrim()
    const before = await everything(shop)

    expect(some(await shop.redrive())).toEqual({ found: 1, trimmed: 1 })
    expect(await everything(shop)).toEqual(before)
  })

  it('leaves the letter before 7.0, too, where XCLAIM would make the id pending all the same', async () => {
    const shop = await startShop({ connect: connectLike62 })
    const [id = ''] = await shop.bury('a')
    await shop.raw.sadd(TRIMMED, id)

    // of one make with the connection, so that its errors are known
    const counts = await redriveFromSource({ stream: 'orders', group: 'billing' }, { redis: shop.redis, all: true })
    expect(some(counts)).toEqual({ found: 1, trimmed: 1 })
    expect([await shop.pending(), (await shop.deadLetters()).length]).toEqual([[], 1])
  })

  it("republish: 'group' appends it only for the failing group, and the others miss nothing that comes", async () => {
    const { shop, id } = await buryAndTrim()
    const [before] = await shop.deadLetters()

    const counts = await shop.redrive({ all: true, republish: 'group' })
    await shop.publish('b')
    await shop.runAll()

    expect([some(counts), await shop.deadLetters()]).toEqual([{ found: 1, republished: 1 }, []])
    expect(shop.calls.search.map(({ orderId }) => orderId)).toEqual(['b'])
    const [again, next] = shop.calls.billing
    expect([again?.orderId, next?.orderId]).toEqual(['a', 'b'])
    expect(again).toMatchObject({ deliveryCount: 1, idempotencyKey: `billing:${before?.head.eventId}` })
    expect(again?.entryId).not.toBe(id)
  })

  it("republish: 'group' leaves the letter while another group has something to read", async () => {
    const { shop } = await buryAndTrim()
    await shop.publish('b')
    const before = await everything(shop)

    expect(some(await shop.redrive({ all: true, republish: 'group' }))).toEqual({ found: 1, othersBehind: 1 })
    expect(await everything(shop)).toEqual(before)

    await shop.runAll()
    expect(some(await shop.redrive({ all: true, republish: 'group' }))).toEqual({ found: 1, republished: 1 })
  })

  it("republish: 'group' goes past what waits for an entry, too, and past a group set ahead", async () => {
    const { shop } = await buryAndTrim()
    await shop.raw.xgroup('CREATE', 'orders', 'ahead', '9999999999999-0')
    const reader = shop.raw.duplicate()
    onTestFinished(() => reader.disconnect())
    const waiting = reader.xreadgroup('GROUP', 'search', 'me', 'BLOCK', 0, 'STREAMS', 'orders', '>')
    await expect.poll(() => shop.raw.info('clients')).toMatch(/blocked_clients:1/)

    await shop.redrive({ all: true, republish: 'group' })
    const [id] = await shop.publish('b')

    expect(await waiting).toEqual([['orders', [[id, expect.anything()]]]])
    const groups = (await shop.raw.xinfo('GROUPS', 'orders')) as string[][]
    expect(groups.find((info) => info.includes('ahead'))).toContain('9999999999999-0')
  })

  it('republish leaves the letter if its group, set to a future id, would never read it', async () => {
    const { shop } = await buryAndTrim()
    await shop.raw.xgroup('SETID', 'orders', 'billing', '99999999999999-0')

    await expect(shop.redrive({ all: true, republish: 'group' })).rejects.toThrow('set to an id that is yet to come')
    expect([await shop.raw.xlen(DLQ), await shop.raw.xlen('orders')]).toEqual([1, 0])
  })

  it("republish: 'group' leaves the other groups their lag", async () => {
    const { shop } = await buryAndTrim()
    const search = async () => {
      const groups = (await shop.raw.xinfo('GROUPS', 'orders')) as unknown[][]
      const info = groups.find((one) => one.includes('search')) ?? []
      return [info[info.indexOf('entries-read') + 1], info[info.indexOf('lag') + 1]]
    }
    expect(await search()).toEqual([1, 0])

    await shop.redrive({ all: true, republish: 'group' })

    expect(await search()).toEqual([2, 0])
  })

  it("republish: 'all' appends it for every group", async () => {
    const { shop } = await buryAndTrim()

    expect(some(await shop.redrive({ all: true, republish: 'all' }))).toEqual({ found: 1, republished: 1 })
    await shop.runAll()

    expect(Object.values(shop.calls).map((calls) => calls.map(({ orderId }) => orderId))).toEqual([['a'], ['a']])
    expect(await shop.deadLetters()).toEqual([])
  })

  it('appends the same bytes, and leaves what is packed', async () => {
    const shop = await startShop()
    const odd = [Buffer.from('a'), Buffer.from([0xff, 0]), Buffer.from('a'), Buffer.from('fieldCount')]
    const largest = Array.from({ length: 2 * MAX_PAIRS }, () => randomBytes(2))
    const tooLarge = [...largest, Buffer.from('x'), Buffer.from('y')]
    for (const fields of [odd, largest, tooLarge]) await shop.raw.xadd('orders', '*', ...fields)
    await shop.runAll()
    await shop.raw.xtrim('orders', 'MAXLEN', 0)

    expect(some(await shop.redrive({ all: true, republish: 'group' }))).toEqual({ found: 3, republished: 2, packed: 1 })
    const entries = await shop.raw.xrangeBuffer('orders', '-', '+')
    expect(entries.map(([, fields]) => fields)).toEqual([odd, largest])
    expect(await shop.raw.xlen(DLQ)).toBe(1)
  })

  it('leaves the letter where memory is full', async () => {
    const { shop } = await buryAndTrim()
    await shop.redrive({ all: true, dryRun: true }) // the script is known from here on
    await shop.raw.config('SET', 'maxmemory', '1')
    await expect(shop.redrive({ all: true, republish: 'group' })).rejects.toMatchObject({ code: 'ERR_REDIS_REPLY' })

    expect([await shop.raw.xlen('orders'), (await shop.deadLetters()).length]).toEqual([0, 1])
  })
})

describe('listDeadLetters()', () => {
  it('gives what a letter says, oldest first', async () => {
    const shop = await startShop()
    const ids = await shop.bury('a', 'b')
    const raw = await shop.deadLetters()

    const letters = (await listed(shop.consumer, shop)) as Record<string, unknown>[]

    expect(letters.map(({ entryId }) => entryId)).toEqual(ids)
    expect(letters[0]).toEqual({
      id: raw[0]?.id,
      stream: 'orders',
      group: 'billing',
      entryId: ids[0],
      consumerName: 'poller-0',
      eventId: raw[0]?.head.eventId,
      eventType: 'OrderPaid',
      schemaVersion: 1,
      reason: 'non-retryable',
      error: { name: 'NonRetryableError', message: 'card declined', stack: expect.stringContaining('card declined') },
      deliveryCount: 1,
      lastDeliveredAt: raw[0]?.head.lastDeliveredAt,
      failedAt: raw[0]?.head.failedAt,
      traceparent: undefined,
      fields: raw[0]?.fields.map((pair) => pair.map((text) => Buffer.from(text))),
    })
    expect(await readDeadLetter(shop.consumer, String(raw[1]?.id), { redis: shop.redis })).toEqual(letters[1])
    expect(await readDeadLetter(shop.consumer, '1-1', { redis: shop.redis })).toBeUndefined()
  })

  it('goes by types, reasons, age, ids and a limit, together', async () => {
    const shop = await startShop()
    const letter = (n: number, eventType: string, reason: string, msAgo: number) => {
      const head = {
        originalStream: 'orders',
        originalId: `${n}-0`,
        group: 'billing',
        eventType,
        reason,
        fieldCount: '0',
      }
      return shop.raw.xadd(DLQ, `${now - msAgo}-0`, ...Object.entries(head).flat())
    }
    const now = Date.now()
    await letter(1, 'A', 'crashed', 100_000)
    await letter(2, 'B', 'crashed', 80_000)
    await letter(3, 'A', 'invalid', 60_000)
    await letter(4, 'A', 'crashed', 40_000)
    await letter(5, 'A', 'crashed', 20_000)
    const entries = async (filters: object) =>
      ((await listed(shop.consumer, shop, filters)) as { entryId: string }[]).map(({ entryId }) =>
        Number.parseInt(entryId, 10),
      )

    expect([
      await entries({}),
      await entries({ types: ['A'] }),
      await entries({ types: ['B', 'C'] }),
      await entries({ types: [] }),
      await entries({ reasons: ['crashed'] }),
      await entries({ olderThanMs: 50_000 }),
      await entries({ newerThanMs: 50_000 }),
      await entries({ olderThanMs: 30_000, newerThanMs: 90_000 }),
      await entries({ ids: [`${now - 40_000}`, `${now - 100_000}-0`, '1-1', `${now - 40_000}-0`] }),
      await entries({ ids: [`${now - 40_000}-0`, `${now - 100_000}-0`], olderThanMs: 50_000 }),
      await entries({ ids: [] }),
      await entries({ upToId: `${now - 60_000}-0` }),
      await entries({ upToId: `${now - 60_000}-0`, types: ['A'], newerThanMs: 70_000 }),
      await entries({ types: ['A'], limit: 2 }),
      await entries({ types: ['A'], reasons: ['crashed'], olderThanMs: 30_000, limit: 1 }),
    ]).toEqual([
      [1, 2, 3, 4, 5],
      [1, 3, 4, 5],
      [2],
      [],
      [1, 2, 4, 5],
      [1, 2, 3],
      [4, 5],
      [2, 3, 4],
      [1, 4],
      [1],
      [],
      [1, 2, 3],
      [3],
      [1, 3],
      [1],
    ])
  })

  it('passes over the letters of another group, and reports what it cannot read', async () => {
    const shop = await startShop()
    const shared = { stream: '{orders}:dead' }
    const fail = () => Promise.reject(new NonRetryableError('no'))
    const consumers = ['billing', 'search'].map((group) => billing(fail, { group, deadLetters: shared }))
    await shop.publish('a')
    for (const consumer of consumers) await poll(consumer, { redis: shop.redis })
    const id = String(await shop.raw.xadd(shared.stream, '*', 'what', 'ever'))
    const [mine, other] = consumers as [Consumer, Consumer]
    const source = { stream: 'orders', group: 'billing', deadLetters: shared.stream }

    expect(await listed(mine, shop)).toMatchObject([
      { group: 'billing' },
      { id, problem: 'its field originalStream is missing' },
    ])
    expect(await redriveDeadLetters(source, { redis: shop.redis, all: true })).toMatchObject({
      redriven: 1,
      unreadable: 1,
    })
    expect([await shop.pending('billing'), await shop.pending('search')]).toEqual([[['a', 'parked', 0]], []])
    expect(await listed(other, shop, { types: ['OrderPaid'] })).toMatchObject([{ group: 'search' }])
    expect(await dropDeadLetters(source, { redis: shop.redis, all: true })).toEqual({
      found: 1,
      dropped: 0,
      unreadable: 1,
      gone: 0,
    })
    expect(await dropDeadLetters(source, { redis: shop.redis, ids: [id] })).toMatchObject({ dropped: 1 })
    expect(await shop.raw.xlen(shared.stream)).toBe(1)
  })

  it('goes through thousands of letters, and through large ones a few at a time', async () => {
    const shop = await startShop()
    const head = { originalStream: 'orders', originalId: '1-0', group: 'billing', fieldCount: '1' }
    const pairs = Object.entries(head).flat()
    const adding = shop.raw.pipeline()
    for (let n = 0; n < 2_000; n++) adding.xadd(DLQ, '*', ...pairs, 'n', n)
    for (let n = 0; n < 20; n++) adding.xadd(DLQ, '*', ...pairs, 'large', Buffer.alloc(900_000))
    await adding.exec()
    const counts: number[] = []
    const stop = await startMonitor(shop.raw, ([name, ...args]) => {
      if (name?.toLowerCase() === 'xrange') counts.push(Number(args.at(-1)))
    })
    onTestFinished(stop)

    expect(await listed(shop.consumer, shop)).toHaveLength(2_020)
    expect(counts.slice(0, 3)).toEqual([10, 100, 100])
    expect(counts.at(-1)).toBe(4)
  })
})

describe('dropDeadLetters()', () => {
  it('drops what fits, once for two operators, and changes nothing in a dry run', async () => {
    const shop = await startShop()
    await shop.bury('a', 'b', 'c')
    const drop = (more: object) => dropDeadLetters(shop.consumer, { redis: shop.connect(), ...more })
    const before = await everything(shop)

    expect(await drop({ all: true, dryRun: true })).toEqual({ found: 3, dropped: 3, unreadable: 0, gone: 0 })
    expect(await everything(shop)).toEqual(before)
    expect(await drop({ reasons: ['non-retryable'], limit: 1 })).toMatchObject({ dropped: 1 })
    expect((await shop.deadLetters()).map(({ fields }) => fields.at(-1)?.[1])).toEqual([
      '{"orderId":"b"}',
      '{"orderId":"c"}',
    ])
    const both = await Promise.all([drop({ all: true }), drop({ all: true })])
    expect(both.reduce((sum, { dropped }) => sum + dropped, 0)).toBe(2)
    expect([await shop.deadLetters(), await shop.pending()]).toEqual([[], []])
  })
})

describe('options of dead-letter functions', () => {
  it.each<[string, object, RegExp]>([
    ['a reason that there is not', { reasons: ['late'] }, /each of reasons must be one of "malformed", .* got "late"$/],
    ['a type alone', { types: 'OrderPaid' }, /types must be an array, got string$/],
    ['an id that is none', { ids: ['x'] }, /Cannot read entry id/],
    ['an age below 0', { olderThanMs: -1 }, /olderThanMs must be >= 0, got -1$/],
    ['a limit of 0', { limit: 0 }, /limit must be >= 1, got 0$/],
    ['an unknown option', { reason: 'crashed' }, /unknown option "reason"/],
  ])('refuse %s', async (_title, options, message) => {
    const redis = connectMemory()
    await expect(async () =>
      listDeadLetters(
        billing(() => {}),
        { redis, ...options },
      ),
    ).rejects.toThrow(message)
  })

  it('refuse a source that is none', () => {
    const redis = connectMemory()
    expect(() => listDeadLetters({ stream: 'orders' } as never, { redis })).toThrow(
      /group must be a string that is not empty/,
    )
    expect(() => listDeadLetters({ stream: 'orders', group: 'billing', deadLetters: 'dead' }, { redis })).toThrow(
      /deadLetters.stream must lie in the stream's hash slot/,
    )
  })
})
