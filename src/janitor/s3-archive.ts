import type { S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import type { Entry } from '../core/entry.ts'
import { compareEntryIds } from '../core/entry.ts'
import { assertKnownOptions, assertText, wrongUseError } from '../core/options.ts'
import type { Archive, ArchiveObject, ArchivePart } from './archive.ts'
import { archivePrefix, encodeArchive, parseArchiveName, readArchive } from './archive.ts'

/** Where a bucket has its archive. */
export interface S3ArchiveOptions {
  /** The bucket's name. */
  readonly bucket: string
  /** What the keys of objects begin with, as `archive/`. Default: nothing. */
  readonly prefix?: string
  /** Default: one of its own, with the environment's region and credentials. */
  readonly client?: Pick<S3Client, 'send'>
}

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
  const { bucket, prefix, client } = open('archive to S3', options)
  return async ({ name, entries }, { signal }) => {
    const { PutObjectCommand } = await import('@aws-sdk/client-s3')
    const object = { Body: await encodeArchive(entries), ...TYPE }
    const command = new PutObjectCommand({ Bucket: bucket, Key: `${prefix}${name}`, IfNoneMatch: '*', ...object })
    try {
      await (await client()).send(command, { abortSignal: signal })
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
  const { bucket, prefix, client } = open(action, options, ['from', 'to'])
  const { from, to } = options
  for (const id of [from, to]) if (id !== undefined) compareEntryIds(id, id)
  const { GetObjectCommand, ListObjectsV2Command } = await import('@aws-sdk/client-s3')
  const s3 = await client()
  const objects: ArchiveObject[] = []
  let token: string | undefined
  do {
    const page = await s3.send(
      new ListObjectsV2Command({
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
            const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: name }))
            return (await Body?.transformToByteArray()) ?? new Uint8Array()
          },
        })
    token = page.NextContinuationToken
  } while (token !== undefined)
  yield* readArchive(objects, { ...(from !== undefined && { from }), ...(to !== undefined && { to }) })
}

function open(action: string, options: S3ArchiveOptions, known: readonly string[] = []) {
  assertKnownOptions(action, options, ['bucket', 'prefix', 'client', ...known])
  const { bucket, prefix = '', client } = options
  assertText(action, 'bucket', bucket)
  if (typeof prefix !== 'string') throw wrongUseError(action, `prefix must be a string, got ${typeof prefix}`)
  if (client !== undefined && typeof client?.send !== 'function')
    throw wrongUseError(action, 'client must be an S3Client')
  return { bucket, prefix, client: lazyClient(client) }
}

/** The SDK is loaded when it is first needed: Lambda's runtime brings it. */
function lazyClient(given: S3ArchiveOptions['client']): () => Promise<S3Client> {
  let own = given as S3Client | undefined
  return async () => {
    const sdk = own ? undefined : await import('@aws-sdk/client-s3')
    if (sdk) own ??= new sdk.S3Client()
    return own as S3Client
  }
}

/** The answer to a conditional write where there is such an object. */
function isThereAlready(error: unknown): boolean {
  const { name, $metadata } = (error ?? {}) as Partial<S3ServiceException>
  return name === 'PreconditionFailed' || $metadata?.httpStatusCode === 412
}
