import { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { mockClient } from 'aws-sdk-client-mock'
import fc from 'fast-check'
import { decodeArchive, encodeArchive, readArchive, runJanitor } from 'millrace/janitor'
import { readS3Archive, s3Archive } from 'millrace/s3'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startWorld } from './keeper.ts'

const bytes = fc.uint8Array({ maxLength: 20 }).map((array) => Buffer.from(array))
const entries = fc.array(
  fc.record({
    id: fc.tuple(fc.nat(), fc.nat()).map(([ms, seq]) => `${ms}-${seq}`),
    fields: fc.array(fc.tuple(bytes, bytes), { maxLength: 4 }),
  }),
  { maxLength: 5 },
)

/** A bucket in memory that writes an object once, as conditional writes do. */
function aBucket() {
  const s3 = mockClient(S3Client)
  onTestFinished(() => s3.restore())
  const objects = new Map<string, Buffer>()
  s3.on(PutObjectCommand).callsFake(({ Key, Body, IfNoneMatch }) => {
    if (IfNoneMatch === '*' && objects.has(Key))
      throw Object.assign(new Error('At least one of the pre-conditions you specified did not hold'), {
        name: 'PreconditionFailed',
        $metadata: { httpStatusCode: 412 },
      })
    objects.set(Key, Body)
    return {}
  })
  s3.on(ListObjectsV2Command).callsFake(({ Prefix, ContinuationToken: from = 0 }) => {
    const keys = [...objects.keys()].filter((key) => key.startsWith(Prefix)).sort()
    const next = Number(from) + 1
    return {
      Contents: keys.slice(from, next).map((Key) => ({ Key })),
      ...(next < keys.length && { NextContinuationToken: `${next}` }),
    }
  })
  s3.on(GetObjectCommand).callsFake(({ Key }) => ({
    Body: Object.assign(Readable.from([]), { transformToByteArray: async () => objects.get(Key) }),
  }))
  return { s3, objects }
}

describe('an archive’s object', () => {
  it('keeps bytes, order and repeated names, and is the same for the same entries', async () => {
    await fc.assert(
      fc.asyncProperty(entries, async (written) => {
        const object = await encodeArchive(written)
        expect(await decodeArchive(object)).toEqual(written)
        expect(await encodeArchive(written)).toEqual(object)
      }),
    )
  })

  it('is lines of JSON that other programs read', async () => {
    const object = await encodeArchive([{ id: '1-0', fields: [['name', Buffer.from([0xff])]] }])

    expect(gunzipSync(object).toString()).toBe('["1-0",["name",{"base64":"/w=="}]]\n')
  })
})

describe('readArchive()', () => {
  it('reads objects in the order of their ids, each entry once, or only a part', async () => {
    const object = async (first: number, last: number) => {
      const all = Array.from({ length: last - first + 1 }, (_, n) => ({ id: `${first + n}-0`, fields: [] }))
      const body = await encodeArchive(all)
      return { name: `orders/${first}-0_${last}-0.ndjson.gz`, read: async () => body }
    }
    const objects = [await object(10, 12), await object(2, 4), await object(4, 9)]
    const read = async (part = {}) => {
      const ids: string[] = []
      for await (const { id } of readArchive([...objects, { name: 'other', read: async () => Buffer.of() }], part))
        ids.push(id)
      return ids
    }

    expect(await read()).toEqual(['2-0', '3-0', '4-0', '5-0', '6-0', '7-0', '8-0', '9-0', '10-0', '11-0', '12-0'])
    expect(await read({ from: '4-0', to: '10-0' })).toEqual(['4-0', '5-0', '6-0', '7-0', '8-0', '9-0', '10-0'])
  })
})

describe('s3Archive()', () => {
  it('writes an object a range, and readS3Archive() gives the entries back', async () => {
    const { objects } = aBucket()
    const { redis, publish, read } = await startWorld('memory')
    const published = await publish('a', 'b', 'c')
    await read('billing')
    const archive = s3Archive({ bucket: 'shop', prefix: 'archive/' })

    const groups = { billing: { owner: 'team' } }
    await runJanitor({ stream: 'orders', groups }, { redis, archive, rangeEntries: 2 })

    expect([...objects.keys()]).toEqual([
      `archive/orders/${published[0]}_${published[1]}.ndjson.gz`,
      `archive/orders/${published[2]}_${published[2]}.ndjson.gz`,
    ])
    const ids: string[] = []
    for await (const { id } of readS3Archive('orders', { bucket: 'shop', prefix: 'archive/' })) ids.push(id)
    expect(ids).toEqual(published)
    const part: string[] = []
    const from = published[1] as string
    for await (const { id } of readS3Archive('orders', { bucket: 'shop', prefix: 'archive/', from })) part.push(id)
    expect(part).toEqual(published.slice(1))
  })

  it('leaves an object that is there as it is', async () => {
    const { objects } = aBucket()
    const archive = s3Archive({ bucket: 'shop', client: new S3Client({ region: 'eu-central-1' }) })
    const range = {
      stream: 'orders',
      firstId: '1-0',
      lastId: '2-0',
      name: 'orders/1-0_2-0.ndjson.gz',
      isRepeated: true,
    }
    const { signal } = new AbortController()
    const whole = [1, 2].map((n) => ({ id: `${n}-0`, fields: [] }))

    await archive({ ...range, entries: whole }, { signal })
    await archive({ ...range, entries: whole.slice(1) }, { signal })

    expect(await decodeArchive(objects.get(range.name) as Buffer)).toEqual(whole)
  })

  it('fails where S3 refuses', async () => {
    const { s3 } = aBucket()
    s3.on(PutObjectCommand).rejects(new Error('Access Denied'))
    const { redis, publish, read } = await startWorld('memory')
    await publish('a')
    await read('billing')
    const archive = s3Archive({ bucket: 'shop' })

    const failing = runJanitor({ stream: 'orders' }, { redis, archive })

    await expect(failing).rejects.toThrow('Cannot finish trim: stream "orders": Access Denied')
  })

  it.each([
    [{}, 'bucket must be a string that is not empty'],
    [{ bucket: 'b', prefix: 1 }, 'prefix must be a string'],
    [{ bucket: 'b', client: {} }, 'client must be an S3Client'],
    [{ bucket: 'b', region: 'x' }, 'unknown option "region"'],
  ])('refuses %j', (options, message) => {
    expect(() => s3Archive(options as never)).toThrow(message)
  })
})
