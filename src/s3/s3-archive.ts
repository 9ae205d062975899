import type { S3ServiceException } from '@aws-sdk/client-s3'
import type { Entry } from '../core/entry.ts'
import { compareEntryIds } from '../core/entry.ts'
import { assertText } from '../core/options.ts'
import type { Archive, ArchiveObject, ArchivePart } from '../janitor/archive.ts'
import { archivePrefix, encodeArchive, parseArchiveName, readArchive } from '../janitor/archive.ts'
import type { BucketOptions } from './bucket.ts'
import { openBucket } from './bucket.ts'

/** Where a bucket has its archive. */
export interface S3ArchiveOptions extends BucketOptions {}

const TYPE = { ContentType: 'application/x-ndjson', ContentEncoding: 'gzip' }

/** Which entries to read, and where. */
export interface ReadS3ArchiveOptions extends S3ArchiveOptions, ArchivePart {}

/**
 * An archive in S3: one object a range, named by its ids, lines of JSON compressed by gzip. An object is written once: one that is there under its name already is complete, and stays. It needs
 * `s3:PutObject` on the objects.
 *
 * @throws {TypeError} A bad option.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 */
export function s3Archive(options: S3ArchiveOptions): Archive {
  const { bucket, prefix, load } = openBucket('archive to S3', options)
  return async ({ name, entries }, { signal }) => {
    const { sdk, client } = await load()
    const object = { Body: await encodeArchive(entries), ...TYPE }
    const command = new sdk.PutObjectCommand({ Bucket: bucket, Key: `${prefix}${name}`, IfNoneMatch: '*', ...object })
    try {
      await client.send(command, { abortSignal: signal })
    } catch (error) {
      if (!isThereAlready(error)) throw error
    }
  }
}

/**
 * Reads the entries of a stream back from S3, in the order of their ids, each once, one object in memory at a time. It needs `s3:ListBucket` on the bucket and `s3:GetObject` on the objects.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export async function* readS3Archive(stream: string, options: ReadS3ArchiveOptions): AsyncGenerator<Entry> {
  const action = 'read an archive in S3'
  assertText(action, 'stream', stream)
  const { bucket, prefix, load } = openBucket(action, options, ['from', 'to'])
  const { from, to } = options
  for (const id of [from, to]) if (id !== undefined) compareEntryIds(id, id)
  const { sdk, client } = await load()
  const objects: ArchiveObject[] = []
  let token: string | undefined
  do {
    const page = await client.send(
      new sdk.ListObjectsV2Command({
        Bucket: bucket,
        Prefix: `${prefix}${archivePrefix(stream)}`,
        ...(token !== undefined && { ContinuationToken: token }),
      }),
    )
    for (const { Key: name = '' } of page.Contents ?? [])
      if (parseArchiveName(name))
        objects.push({
          name,
          async read() {
            const { Body } = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: name }))
            return (await Body?.transformToByteArray()) ?? new Uint8Array()
          },
        })
    token = page.NextContinuationToken
  } while (token !== undefined)
  yield* readArchive(objects, { ...(from !== undefined && { from }), ...(to !== undefined && { to }) })
}

/** The answer to a conditional write where there is such an object. */
function isThereAlready(error: unknown): boolean {
  const { name, $metadata } = (error ?? {}) as Partial<S3ServiceException>
  return name === 'PreconditionFailed' || $metadata?.httpStatusCode === 412
}
