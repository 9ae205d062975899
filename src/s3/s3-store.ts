import type { PayloadStore } from '../core/claim-check.ts'
import type { BucketOptions } from './bucket.ts'
import { openBucket } from './bucket.ts'

/** Which bucket, and how it is reached. */
export interface S3StoreOptions extends BucketOptions {}

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
  const { bucket, prefix, load } = openBucket('make s3Store', options)
  const place = (key: string) => ({ Bucket: bucket, Key: `${prefix}${key}` })
  return {
    async put(key, bytes, { retentionMs, signal }) {
      const { sdk, client } = await load()
      const Tagging = retentionMs && { Tagging: `${RETENTION_TAG}=${Math.ceil(retentionMs / DAY_MS)}` }
      const command = new sdk.PutObjectCommand({
        ...place(key),
        Body: bytes,
        ContentType: 'application/json',
        ...Tagging,
      })
      await client.send(command, { abortSignal: signal })
    },
    async get(key, { maxBytes, signal }) {
      const { sdk, client } = await load()
      try {
        const { Body, ContentLength = 0 } = await client.send(new sdk.GetObjectCommand(place(key)), {
          abortSignal: signal,
        })
        if (ContentLength <= maxBytes)
          return await Body?.transformToByteArray()
          // what is not read would keep its connection
        ;(Body as { destroy?(): void } | undefined)?.destroy?.()
        return new Uint8Array()
      } catch (error) {
        // by its name: a client of the user's own may come from another copy of the library
        if ((error as Error | undefined)?.name === 'NoSuchKey') return undefined
        throw error
      }
    },
  }
}
