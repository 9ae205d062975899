import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { registerGroups, runJanitor, unregisterGroups } from 'millrace/janitor'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startOneNodeCluster } from '../support/one-node-cluster.ts'
import { startRestServer } from '../support/rest-server.ts'
import { startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'
import { memoryArchive } from './keeper.ts'

const BYTES = Buffer.from([0xff, 0x00, 0xfe, 0x41])
const ORDERS = { stream: 'orders', groups: { billing: { owner: 'team' } } }

/** Three entries that group billing has done: text, bytes that are no UTF-8, and names that repeat. */
async function fill(raw: Redis): Promise<void> {
  await raw.xadd('orders', '1-1', 'text', 'é ✓ �', 'n', '')
  await raw.xadd('orders', '1-2', 'bytes', BYTES, BYTES, 'x')
  await raw.xadd('orders', '2-0', 'same', '1', 'same', '2')
  await raw.xgroup('CREATE', 'orders', 'billing', '2-0')
}

const READ = [
  ['1-1', 'text', 'é ✓ �', 'n', ''],
  ['1-2', 'bytes', BYTES.toString('latin1'), BYTES.toString('latin1'), 'x'],
  ['2-0', 'same', '1', 'same', '2'],
]

async function archivedBy(redis: Connection): Promise<unknown> {
  const { archive, objects } = memoryArchive()
  const report = await runJanitor(ORDERS, { redis, archive })
  expect(report).toMatchObject({ archived: 3, trimmed: 3, kept: 0 })
  const { decodeArchive } = await import('millrace/janitor')
  const [object = Buffer.of()] = objects.values()
  const text = (bytes: unknown) => {
    const buffer = Buffer.from(bytes as Buffer)
    return buffer.includes(0xff) ? buffer.toString('latin1') : buffer.toString()
  }
  return (await decodeArchive(object)).map(({ id, fields }) => [id, ...fields.flat().map(text)])
}

describe('a janitor keeps bytes, order and repeated names', () => {
  it('over TCP', async () => {
    const { redis, raw } = await startScenario()
    await fill(raw)

    expect(await archivedBy(redis)).toEqual(READ)
  })

  it('over RESP3', async () => {
    const { server, raw } = await startScenario()
    const redis = connectIoredis(() => new Redis(server.url, { commandTimeout: 5_000, protocol: 3 } as never))
    onTestFinished(() => redis.close())
    await fill(raw)

    expect(await archivedBy(redis)).toEqual(READ)
  })

  it('over REST, which carries text', async () => {
    const { server, raw } = await startScenario()
    const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
    const redis = connect(rest.url.replace('://', '://:secret@'))
    onTestFinished(async () => {
      await redis.close()
      await rest.close()
    })
    await fill(raw)

    expect(await archivedBy(redis)).toEqual(READ)
  })

  it('on a cluster, with its dead letters', async () => {
    const server = await startOneNodeCluster()
    const raw = new Redis(server.url)
    const redis = connectIoredis(`${server.url}/?cluster`)
    onTestFinished(async () => {
      await redis.close()
      raw.disconnect()
      await server.stop()
    })
    await fill(raw)
    await raw.xadd('{orders}:billing:dlq', '5-0', 'a', 'b')
    const { archive } = memoryArchive()
    const groups = { billing: { owner: 'team', deadLetters: { retentionMs: 1_000 } } }

    expect(await runJanitor({ stream: 'orders', groups }, { redis, archive })).toMatchObject({
      archived: 4,
      trimmed: 4,
      streams: [{ kept: 0 }, { kept: 0 }],
    })
  })
})

describe('a janitor', () => {
  it('works with memory full, which is when it is needed', async () => {
    const { redis, raw } = await startScenario()
    const payload = 'x'.repeat(1_000)
    for (let n = 0; n < 500; n++) await raw.xadd('orders', '*', 'payload', payload)
    await raw.xgroup('CREATE', 'orders', 'billing', '$')
    await runJanitor({ ...ORDERS, maxLength: 499 }, { redis })
    await raw.config('SET', 'maxmemory', '1mb')
    await expect(raw.xadd('orders', '*', 'a', 'b')).rejects.toThrow('OOM')

    const { archive } = memoryArchive()
    expect(await runJanitor(ORDERS, { redis, archive, rangeEntries: 100 })).toMatchObject({
      archived: 499,
      trimmed: 499,
    })
  })

  it('reads a range in pages, and one that is larger than a range alone', async () => {
    const { redis, raw } = await startScenario()
    await raw.xadd('orders', '1-0', 'large', 'x'.repeat(300_000))
    for (let n = 0; n < 250; n++) await raw.xadd('orders', '*', 'payload', 'y'.repeat(1_000))
    await raw.xgroup('CREATE', 'orders', 'billing', '$')
    const { archive, ranges, ids } = memoryArchive()

    const report = await runJanitor(ORDERS, { redis, archive, rangeBytes: 100_000 })

    expect(report).toMatchObject({ archived: 251, trimmed: 251, ranges: 4 })
    expect(ranges.map(({ entries }) => entries.length)).toEqual([1, 99, 99, 52])
    expect(await ids()).toHaveLength(251)
  })

  it('ends in time, and goes on with the next run', async () => {
    const { redis, raw } = await startScenario()
    for (let n = 0; n < 50; n++) await raw.xadd('orders', '*', 'n', `${n}`)
    await raw.xgroup('CREATE', 'orders', 'billing', '$')
    const slow = async () => {
      await new Promise((resolve) => setTimeout(resolve, 200))
    }

    const report = await runJanitor(ORDERS, { redis, archive: slow, rangeEntries: 1, remainingMs: 5_500 })

    expect(report.drained).toBe(false)
    expect(report.ranges).toBeGreaterThan(0)
    expect(report.ranges).toBeLessThan(6)
    expect(await runJanitor(ORDERS, { redis, maxRanges: 2, rangeEntries: 10 })).toMatchObject({
      ranges: 2,
      trimmed: 20,
    })
  })

  it('gives up an archive that does not answer, in time', async () => {
    const { redis, raw } = await startScenario()
    await fill(raw)
    let isAborted = false
    const never = (_range: unknown, { signal }: { signal: AbortSignal }) => {
      signal.addEventListener('abort', () => {
        isAborted = true
      })
      return new Promise(() => {})
    }

    const failure = await runJanitor(ORDERS, { redis, archive: never, remainingMs: 5_200 }).catch(
      (error: unknown) => error,
    )

    expect(failure).toMatchObject({ code: 'ERR_JANITOR_FAILED', report: { archived: 0, trimmed: 0 } })
    expect(String(failure)).toContain('no answer within')
    expect(isAborted).toBe(true)
  })

  it('archives a range whose ids were used before, by a stream that was deleted', async () => {
    const { redis, raw } = await startScenario()
    await fill(raw)
    const { archive, ranges } = memoryArchive()
    await runJanitor(ORDERS, { redis, archive })
    await raw.del('orders')
    await fill(raw)
    const refuse = async () => {
      throw new Error('the bucket is gone')
    }
    await expect(runJanitor(ORDERS, { redis, archive: refuse })).rejects.toThrow('the bucket is gone')

    expect(await runJanitor(ORDERS, { redis, archive })).toMatchObject({ archived: 3, resumed: 0, trimmed: 3 })
    expect(ranges).toHaveLength(2)
  })

  it('archives and trims the last entry that there can be', async () => {
    const { redis, raw } = await startScenario()
    await raw.xadd('orders', '18446744073709551615-18446744073709551615', 'a', 'b')
    await raw.xgroup('CREATE', 'orders', 'billing', '$')
    const { archive } = memoryArchive()

    expect(await runJanitor(ORDERS, { redis, archive })).toMatchObject({ archived: 1, trimmed: 1, kept: 0 })
  })

  it('a group whose name is no text keeps everything, and is named', async () => {
    const { redis, raw } = await startScenario()
    await fill(raw)
    await raw.xgroup('CREATE', 'orders', Buffer.from([0xff, 0x41]), '$')

    expect(await runJanitor(ORDERS, { redis })).toMatchObject({
      trimmed: 0,
      streams: [{ blockers: [{ reason: 'denied' }], unregistered: [expect.stringContaining('A')] }],
    })
  })

  it('what was trimmed ahead is not counted again once the group has gone on', async () => {
    const { redis, raw } = await startScenario()
    const add = async (...ms: number[]) => {
      for (const n of ms) await raw.xadd('orders', `${n}-0`, 'a', 'b')
    }
    const read = (entries: number) =>
      raw.xreadgroup('GROUP', 'billing', 'me', 'COUNT', entries, 'NOACK', 'STREAMS', 'orders', '>')
    const ahead = async () => (await runJanitor(ORDERS, { redis })).trimmedAhead
    await add(1, 2, 3, 4, 5, 6)
    await raw.xgroup('CREATE', 'orders', 'billing', '0')
    await read(1)
    await raw.xtrim('orders', 'MAXLEN', 2)
    expect(await ahead()).toBe(3)

    await read(1)
    expect(await ahead()).toBe(0)
    await read(1)
    expect([await ahead(), await ahead()]).toEqual([0, 0])
    await add(7, 8, 9)
    await raw.xtrim('orders', 'MAXLEN', 1)
    expect([await ahead(), await ahead()]).toEqual([2, 0])
    await registerGroups('orders', { other: { owner: 'x' } }, { redis })
    await unregisterGroups('orders', ['billing'], { redis })
    await runJanitor({ stream: 'orders' }, { redis })
    expect(Object.keys(await raw.hgetall('{orders}::stream::janitor')).join()).not.toMatch(/(ahead|gone|drift):/)
  })

  it('reads few of large entries at once to find a range', async () => {
    const { server, redis, raw } = await startScenario()
    for (let n = 0; n < 60; n++) await raw.xadd('orders', '*', 'payload', 'x'.repeat(100_000))
    await raw.xgroup('CREATE', 'orders', 'billing', '$')
    const watch = await watchCommands(server.url)

    await runJanitor(ORDERS, { redis, rangeBytes: 150_000, maxRanges: 1 })

    const counts = (await watch.seen()).flatMap(([name = '', ...args]) => (/^xrange$/i.test(name) ? [args.at(-1)] : []))
    // and the entry that the group reads next, where the server does not count
    expect(counts.filter((count) => count !== '1')).toEqual(['10'])
  })

  it('a stream that is missing, or no stream', async () => {
    const { redis, raw } = await startScenario()
    expect(await runJanitor(ORDERS, { redis })).toMatchObject({ trimmed: 0, kept: 0, drained: true })
    await raw.set('orders', 'text')

    const failure = await runJanitor(ORDERS, { redis }).catch((error: unknown) => error)

    expect(String(failure)).toContain('of another type')
  })
})
