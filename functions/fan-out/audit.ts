import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { S3Client } from '@aws-sdk/client-s3'
import type { BatchContext, BatchEvent } from 'millrace'
import { askAws } from '../shared/ask-aws.ts'
import { auditBucket } from '../shared/env.ts'
import { isoOf } from '../shared/time.ts'

// checked when the module loads
const Bucket = auditBucket()
let client: S3Client | undefined

/**
 * Writes a batch as one object, and lets it be acknowledged once S3 has it. An object is written once: the same batch has the same name, and what is there under it stays. A batch that comes together otherwise after a
 * crash is another object, which has some lines again: `entryId` knows them.
 */
export async function keepRecord(events: readonly BatchEvent[], { signal }: BatchContext): Promise<void> {
  if (Bucket === undefined) return
  const { PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  client ??= new S3Client({ maxAttempts: 1 })
  const Body = await promisify(gzip)(events.map((event) => `${JSON.stringify(lineOf(event))}\n`).join(''))
  const command = new PutObjectCommand({ Bucket, Key: keyOf(events), Body, IfNoneMatch: '*' })
  const request = client.send(command, { abortSignal: signal }).catch((error: Error) => {
    if (error.name !== 'PreconditionFailed') throw error
  })
  await askAws('S3', request)
}

/** The entry as it is in the stream, whatever this deployment knows of its type. What is no UTF-8 is `{ base64 }`. */
function lineOf({ entryId, fields }: BatchEvent) {
  return { entryId, fields: fields.map((field) => field.map(written)) }
}

function written(bytes: string | Buffer): string | { readonly base64: string } {
  if (typeof bytes === 'string') return bytes
  return isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString('base64') }
}

/** By the day on which the stream took the first of them: `audit/2026-11-29/<first>_<last>_<hash of all ids>.ndjson.gz`. */
function keyOf(events: readonly BatchEvent[]): string {
  const ids = events.map(({ entryId }) => entryId)
  const hash = createHash('sha256').update(ids.join()).digest('hex').slice(0, 16)
  const day = isoOf(Number.parseInt(ids[0] as string, 10)).slice(0, 10)
  return `audit/${day}/${ids[0]}_${ids.at(-1)}_${hash}.ndjson.gz`
}
