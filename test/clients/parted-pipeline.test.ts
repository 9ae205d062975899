import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Command, Redis } from 'ioredis'
import { createPublisher, type Publisher, type PublishFailedError, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { answeredOf, PartedPipeline } from '../../src/clients/parted-pipeline.ts'
import type { PrivateRedis } from '../../tools/redis-server.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { billing, names, OrderPaid, startScenario } from '../support/scenario.ts'

const commands = Array.from({ length: 300 }, (_, n) => ['get', `k${n}`] as const)

/** Pipelines that answer when they are asked to, and what each was given. */
function startPipelines() {
  const parts: { size: number; _result: unknown[]; answer: () => void }[] = []
  const put = (some: readonly unknown[]) => {
    const { promise, resolve } = Promise.withResolvers<[null, unknown][]>()
    const whole = some.map((command): [null, unknown] => [null, command])
    const part = { size: some.length, _result: [] as unknown[], answer: () => resolve(whole) }
    parts.push(part)
    return Object.assign(part, { callBuffer: () => undefined, exec: () => promise })
  }
  return { parts, put }
}

/** A client behind a relay, and the relay's sockets. @param replied Called after each reply. */
async function connectByRelay(
  { host, port }: PrivateRedis,
  options: object,
  replied?: (reply: Buffer, peer: Socket) => void,
) {
  const peers = new Set<Socket>()
  const relay = createServer((peer) => {
    peers.add(peer.on('error', () => {}))
    const link = connect(port, host).on('data', (reply) => {
      peer.write(reply)
      replied?.(reply, peer)
    })
    peer.pipe(link)
    peer.on('close', () => link.end())
  })
  await once(relay.listen(0, '127.0.0.1'), 'listening')
  const redis = connectIoredis(() => new Redis({ port: (relay.address() as AddressInfo).port, ...options }))
  onTestFinished(async () => {
    await redis.close()
    for (const peer of peers) peer.destroy()
    relay.close()
  })
  return { redis, peers }
}

function publishes(publisher: Publisher, count: number): Promise<boolean> {
  return publisher.publishMany(names('o', count).map((orderId) => [OrderPaid, { orderId }] as const)).then(
    () => true,
    () => false,
  )
}

describe('a pipeline in parts', () => {
  it('sends all parts before any answers, and answers in order', async () => {
    const { parts, put } = startPipelines()
    const answers = new PartedPipeline(commands, put, {}).exec()

    expect(parts.map(({ size }) => size)).toEqual([125, 125, 50])
    for (const part of parts.toReversed()) part.answer()
    expect((await answers).map((result) => result?.[1])).toEqual(commands)
  })

  it('has what came in the places of its commands, whatever came of the part before', () => {
    const { parts, put } = startPipelines()
    const pipeline = new PartedPipeline(commands, put, {})
    void pipeline.exec()
    parts[0]?._result.push([null, 'first'])
    if (parts[1]) parts[1]._result[1] = [null, 'second of the second']

    const came = answeredOf(pipeline)

    expect([came.length, came[0], came[1], came[125], came[126]]).toEqual([
      300,
      [null, 'first'],
      undefined,
      undefined,
      [null, 'second of the second'],
    ])
  })

  it('holds no argument of a command once all are answered', async () => {
    const { server } = await startScenario()
    const client = new Redis(server.url)
    // what is sent before the client is ready is sent again
    const commands = new Set<Command>()
    const send = client.sendCommand.bind(client)
    client.sendCommand = (command, stream) => {
      commands.add(command)
      return send(command, stream)
    }
    const redis = connectIoredis(() => client)
    onTestFinished(() => redis.close())

    await createPublisher({ stream: 'orders', redis }).publishMany(
      names('o', 200).map((orderId) => [OrderPaid, { orderId }] as const),
    )
    await poll(
      billing(() => {}, { startAt: '0' }),
      { redis },
    )

    const sent = [...commands].map(({ name }) => name)
    expect(sent.filter((name) => name === 'XADD')).toHaveLength(200)
    expect(sent).toEqual(expect.arrayContaining(['XREADGROUP', 'XACK']))
    const ours = [...commands].filter(({ name }) => name === name.toUpperCase())
    expect(ours.filter(({ args }) => args.length > 0)).toEqual([])
  })

  it('answers each of a thousand events with its own entry, in order', async () => {
    const { raw, redis } = await startScenario()
    const publisher = createPublisher({ stream: 'orders', redis })

    const published = await publisher.publishMany(names('o', 1_000).map((orderId) => [OrderPaid, { orderId }] as const))

    const entries = await raw.xrange('orders', '-', '+')
    expect(published.map(({ entryId }) => entryId)).toEqual(entries.map(([id]) => id))
    expect(published.map(({ eventId }) => eventId)).toEqual(entries.map(([, fields]) => fields[1]))
  })

  it('leaves no event out before others: once a command was answered, none is sent again', async () => {
    const { server, raw, connect } = await startScenario()
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.close())
    const publisher = createPublisher({ stream: 'orders', redis: connect(proxy.url) })
    await publisher.publish(OrderPaid, { orderId: 'first' })
    const eventIds = names('o', 1_000)

    const isFrozen = proxy.freezeAfter('xadd', 500)
    const published = publisher.publishMany(
      eventIds.map((eventId) => [OrderPaid, { orderId: eventId }, { eventId }] as const),
    )
    await Promise.all([expect(published).rejects.toThrow('Cannot publish'), isFrozen.then(() => proxy.severAll())])

    const { entryIds } = await published.then(
      () => ({ entryIds: [] }),
      (error: PublishFailedError) => error,
    )
    const [, ...entries] = await raw.xrange('orders', '-', '+')
    const written = entries.map(([, fields]) => fields[1])
    expect(written).toEqual(eventIds.slice(0, written.length))
    expect(entryIds).toEqual(eventIds.map((_id, n) => (n < 22 ? entries[n]?.[0] : undefined)))
  })

  it.each([{ enableOfflineQueue: false }, { autoResendUnfulfilledCommands: false, commandTimeout: 500 }])(
    'writes all or nothing over a connection that was lost unnoticed, with %j',
    async (options) => {
      const { server, raw } = await startScenario()
      const { redis, peers } = await connectByRelay(server, options)
      const publisher = createPublisher({ stream: 'orders', redis })
      await publisher.publish(OrderPaid, { orderId: 'first' })

      // the client does not know yet when it writes
      for (const peer of peers) peer.resetAndDestroy()
      const isPublished = await publishes(publisher, 300)

      expect(isPublished).toBe(options.autoResendUnfulfilledCommands !== false)
      expect(await raw.xlen('orders')).toBe(isPublished ? 301 : 1)
    },
  )

  it.each([{}, { autoResendUnfulfilledCommands: false, commandTimeout: 500 }])(
    'writes all or nothing over a connection lost as soon as it is ready, with %j',
    async (options) => {
      const { server, raw } = await startScenario()
      let isLost = false
      const { redis } = await connectByRelay(server, options, (reply, peer) => {
        if (isLost || !reply.includes('redis_version')) return
        isLost = true
        peer.resetAndDestroy()
      })

      const isPublished = await publishes(createPublisher({ stream: 'orders', redis }), 300)

      expect([isLost, isPublished]).toEqual([true, options.autoResendUnfulfilledCommands !== false])
      expect(await raw.xlen('orders')).toBe(isPublished ? 300 : 0)
    },
  )

  it('leaves a command its arguments until the server has answered: the client may send it yet', async () => {
    const { server, raw } = await startScenario()
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.close())
    const client = new Redis(proxy.url, { commandTimeout: 100 })
    const redis = connectIoredis(() => client)
    onTestFinished(() => redis.close())
    const publisher = createPublisher({ stream: 'orders', redis })
    await publisher.publish(OrderPaid, { orderId: 'first' })

    proxy.stall()
    await expect(publisher.publish(OrderPaid, { orderId: 'late' })).rejects.toThrow('Command timed out')
    proxy.severAll()
    proxy.resume()
    await once(client, 'ready')
    await client.ping()

    expect(await raw.info('commandstats')).toMatch(/cmdstat_xadd:calls=2,.*,rejected_calls=0,/)
    expect(await raw.xlen('orders')).toBe(2)
  })
})
