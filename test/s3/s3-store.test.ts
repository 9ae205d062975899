import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { S3Client } from '@aws-sdk/client-s3'
import { claimCheck, createPublisher, defineConsumer, defineEvent, on, poll } from 'millrace'
import { s3Store } from 'millrace/s3'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'

interface Seen {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly headers: IncomingHttpHeaders
}

type Answer = { readonly status: number; readonly body?: string } | 'hangs' | undefined

const xml = (code: string) =>
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>no</Message></Error>`

/** What speaks S3's two operations over HTTP, as far as they are used. */
async function startBucket(answer: (seen: Seen) => Answer = () => undefined) {
  const objects = new Map<string, Buffer>()
  const seen: Seen[] = []
  const server = createServer((request, response) => void serve(request, response))
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url: path = '', headers } = request
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const one = { method, path: path.replace(/\?.*/, ''), headers }
    seen.push(one)
    const given = answer(one)
    if (given === 'hangs') return
    if (given) return void response.writeHead(given.status, { 'content-type': 'application/xml' }).end(given.body)
    if (method === 'PUT') {
      objects.set(one.path, Buffer.concat(chunks))
      return void response.writeHead(200).end()
    }
    const found = objects.get(one.path)
    if (found) response.writeHead(200, { 'content-length': found.length }).end(found)
    else response.writeHead(404, { 'content-type': 'application/xml' }).end(xml('NoSuchKey'))
  }
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'eu-west-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  onTestFinished(async () => {
    client.destroy()
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return { objects, seen, store: s3Store({ bucket: 'payloads', prefix: 'shop/', client }) }
}

const forever = () => new AbortController().signal
const get = { maxBytes: 100, signal: forever() }
const DAY = 86_400_000

describe('s3Store()', () => {
  it('keeps payloads as objects, and gives them back', async () => {
    const { store, objects } = await startBucket()
    await store.put('key', Buffer.from('{"a":"ä"}'), { retentionMs: undefined, signal: forever() })

    expect([...objects.keys()]).toEqual(['/payloads/shop/key'])
    expect(Buffer.from((await store.get('key', get)) ?? []).toString()).toBe('{"a":"ä"}')
  })

  it.each([
    [undefined, undefined],
    [1, 'millrace-retention-days=1'],
    [7 * DAY, 'millrace-retention-days=7'],
    [7 * DAY + 1, 'millrace-retention-days=8'],
  ])('tags an object that may go after %s ms by whole days', async (retentionMs, tag) => {
    const { store, seen } = await startBucket()
    await store.put('key', Buffer.from('1'), { retentionMs, signal: forever() })

    expect(seen[0]?.headers['x-amz-tagging']).toBe(tag)
  })

  it('answers nothing of an object that is gone, and reads none that is too long', async () => {
    const { store } = await startBucket()
    await store.put('long', Buffer.alloc(101), { retentionMs: undefined, signal: forever() })

    expect([await store.get('none', get), (await store.get('long', get))?.length]).toEqual([undefined, 0])
  })

  it('knows an object that is gone by the name of the error', async () => {
    // a client of the user's own may come from another copy of the library
    class NoSuchKey extends Error {
      override readonly name = 'NoSuchKey'
    }
    const client = { send: () => Promise.reject(new NoSuchKey()) }

    expect(await s3Store({ bucket: 'payloads', client }).get('key', get)).toBeUndefined()
  })

  it.each([
    [403, 'AccessDenied'],
    [404, 'NoSuchBucket'],
    [503, 'SlowDown'],
  ])('throws what may pass: %i %s', async (status, code) => {
    const { store } = await startBucket(() => ({ status, body: xml(code) }))

    await expect(store.get('key', get)).rejects.toMatchObject({ name: code })
    const put = store.put('key', Buffer.from('1'), { retentionMs: undefined, signal: forever() })
    await expect(put).rejects.toMatchObject({ name: code })
  })

  it('hangs up when the time is over', async () => {
    const { store, seen } = await startBucket(() => 'hangs')
    const abort = new AbortController()
    const getting = store.get('key', { maxBytes: 1, signal: abort.signal })
    const putting = store.put('key', Buffer.from('1'), { retentionMs: undefined, signal: abort.signal })
    while (seen.length < 2) await new Promise(setImmediate)
    abort.abort()

    await expect(getting).rejects.toMatchObject({ name: 'AbortError' })
    await expect(putting).rejects.toMatchObject({ name: 'AbortError' })
  })

  it.each<[string, object]>([
    ['bucket must be a string that is not empty, got undefined', {}],
    ['unknown option "region"; known are bucket, prefix, client', { bucket: 'b', region: 'r' }],
    ['prefix must be a string, got number', { bucket: 'b', prefix: 1 }],
    ['client must be an S3Client', { bucket: 'b', client: {} }],
  ])('refuses bad options: %s', (message, options) => {
    expect(() => s3Store(options as never)).toThrow(`Cannot make s3Store: ${message}`)
  })

  it('serves claimCheck: a megabyte goes through S3, and an entry of some bytes through the stream', async () => {
    const { store, objects } = await startBucket()
    const redis = connectMemory()
    const Filed = defineEvent('Filed', { payload: z.object({ text: z.string() }) })
    const codec = claimCheck({ store, retentionMs: 7 * DAY })
    const sizes: number[] = []
    const routes = [on(Filed, ({ payload }) => void sizes.push(payload.text.length))]
    await createPublisher({ stream: 'orders', redis, codec }).publish(Filed, { text: 'x'.repeat(1_000_000) })

    expect(await poll(defineConsumer({ stream: 'orders', group: 'billing', codec, routes }), { redis })).toMatchObject({
      acked: 1,
    })
    expect([sizes, objects.size]).toEqual([[1_000_000], 1])
    const [entry] = redis.entries('orders')
    expect(entry?.fields.flat().join('').length).toBeLessThan(300)
  })
})
