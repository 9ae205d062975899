import type { S3Client } from '@aws-sdk/client-s3'
import type { PayloadStore } from '../core/claim-check.ts'
import { assertKnownOptions, assertText, wrongUseError } from '../core/options.ts'

/** Which bucket, and how it is reached. */
export interface S3StoreOptions {
  readonly bucket: string
  /** What every key begins with, such as `payloads/`. Default: nothing. */
  readonly prefix?: string
  /** A client of your own, as for another region. Default: one that is made by the first call, with what the environment says. */
  readonly client?: S3Client
}

const DAY_MS = 86_400_000

/** The tag of an object that may go after so many days: the one that a lifecycle rule of the bucket names. */
const RETENTION_TAG = 'millrace-retention-days'

/**
 * Keeps the payloads of `claimCheck` as objects of an S3 bucket. Objects are never deleted from here: with `retentionMs` each has the tag `millrace-retention-days`, in whole days rounded up, by which a lifecycle rule of the bucket
 * deletes it, counted from when it was last put.
 *
 * Publishers need `s3:PutObject`, with `retentionMs` also `s3:PutObjectTagging`; consumers `s3:GetObject`, and `s3:ListBucket`, without which S3 says "denied" of an object that is gone.
 *
 * @throws {TypeError} A bad option.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html
 */
export function s3Store(options: S3StoreOptions): PayloadStore {
  const action = 'make s3Store'
  assertKnownOptions(action, options, ['bucket', 'prefix', 'client'])
  const { bucket, prefix = '', client } = options
  assertText(action, 'bucket', bucket)
  if (typeof prefix !== 'string') throw wrongUseError(action, `prefix must be a string, got ${typeof prefix}`)
  if (client !== undefined && typeof client?.send !== 'function')
    throw wrongUseError(action, 'client must be an S3Client')
  let made: S3Client | undefined = client
  // the library is loaded by the first call: in Lambda it comes with the runtime
  const load = async () => {
    const s3 = await import('@aws-sdk/client-s3')
    made ??= new s3.S3Client({})
    return { s3, client: made }
  }
  const place = (key: string) => ({ Bucket: bucket, Key: `${prefix}${key}` })
  return {
    async put(key, bytes, { retentionMs, signal }) {
      const { s3, client } = await load()
      const Tagging = retentionMs && { Tagging: `${RETENTION_TAG}=${Math.ceil(retentionMs / DAY_MS)}` }
      const command = new s3.PutObjectCommand({
        ...place(key),
        Body: bytes,
        ContentType: 'application/json',
        ...Tagging,
      })
      await client.send(command, { abortSignal: signal })
    },
    async get(key, { maxBytes, signal }) {
      const { s3, client } = await load()
      try {
        const { Body, ContentLength = 0 } = await client.send(new s3.GetObjectCommand(place(key)), {
          abortSignal: signal,
        })
        if (ContentLength <= maxBytes)
          return await Body?.transformToByteArray()
          // what is not read would keep its connection
        ;(Body as { destroy?(): void } | undefined)?.destroy?.()
        return new Uint8Array()
      } catch (error) {
        if (error instanceof s3.NoSuchKey) return undefined
        throw error
      }
    },
  }
}
