import type { S3Client } from '@aws-sdk/client-s3'
import { assertKnownOptions, assertText, wrongUseError } from '../core/options.ts'

/** Which bucket, and how it is reached. */
export interface BucketOptions {
  /** The bucket's name. */
  readonly bucket: string
  /** What every key begins with, such as `payloads/`. Default: nothing. */
  readonly prefix?: string
  /** A client of your own, as for another region. Default: one that is made by the first call, with what the environment says. */
  readonly client?: Pick<S3Client, 'send'>
}

/** A bucket whose options are checked. */
export interface Bucket {
  readonly bucket: string
  readonly prefix: string
  readonly load: () => Promise<{ readonly sdk: typeof import('@aws-sdk/client-s3'); readonly client: S3Client }>
}

const OPTION_NAMES = ['bucket', 'prefix', 'client']

/**
 * Checks the options. The SDK is loaded by the first call of `load`: in Lambda it comes with the runtime.
 *
 * @param known Options beside those of the bucket.
 * @throws {TypeError} A bad option.
 */
export function openBucket(action: string, options: BucketOptions, known: readonly string[] = []): Bucket {
  assertKnownOptions(action, options, [...OPTION_NAMES, ...known])
  const { bucket, prefix = '', client } = options
  assertText(action, 'bucket', bucket)
  if (typeof prefix !== 'string') throw wrongUseError(action, `prefix must be a string, got ${typeof prefix}`)
  if (client !== undefined && typeof client?.send !== 'function')
    throw wrongUseError(action, 'client must be an S3Client')
  let own = client as S3Client | undefined
  return {
    bucket,
    prefix,
    load: async () => {
      const sdk = await import('@aws-sdk/client-s3')
      own ??= new sdk.S3Client()
      return { sdk, client: own }
    },
  }
}
