import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { load, saveSnapshot } from './account.ts'
import { transfers } from './consumer.ts'
import { STREAM } from './events.ts'
import { client } from './redis.ts'

/** Where entries go, and for how long they stay in the stream. */
const { ARCHIVE_BUCKET, ARCHIVE_FOLDER, ARCHIVE_AFTER_DAYS = '30' } = process.env
if (!/^\d+(\.\d+)?$/.test(ARCHIVE_AFTER_DAYS)) throw new Error('ARCHIVE_AFTER_DAYS must be a number of days, 0 or more')
const afterMs = Number(ARCHIVE_AFTER_DAYS) * 86_400_000
const PAGE = 1_000
/** What is left to the function when it begins no further page. */
const RESERVE_MS = 60_000

/**
 * Wakes every night: moves what is old out of the stream, a page after the other. First every account of a page has a snapshot that needs none of it, then the page is in the archive, and only then is it trimmed. Who dies
 * in between does it again, under the same name.
 */
export async function handler(_event?: unknown, context?: { getRemainingTimeInMillis(): number }) {
  let archived = 0
  const end = await oldestNeeded()
  while ((context?.getRemainingTimeInMillis() ?? Infinity) > RESERVE_MS) {
    // the entry behind a page stays
    const entries = (await client.xrange(STREAM, '-', end, 'COUNT', PAGE + 1)) as [string, string[]][]
    const next = entries.pop()
    if (!next || entries.length === 0) break
    const said = entries.map(
      ([, fields]) =>
        (name: string) =>
          fields[fields.indexOf(name) + 1] as string,
    )
    const accounts = said.filter((field) => field('aggregateType') === 'account').map((field) => field('aggregateId'))
    for (const accountId of new Set(accounts)) await saveSnapshot(await load(accountId))
    await store(`${entries[0]?.[0]}.ndjson`, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
    await client.xtrim(STREAM, 'MINID', next[0])
    archived += entries.length
  }
  return { archived }
}

/** Up to where entries are old enough, and no group needs any: the transfers', and whichever else there are, have read all, and have nothing undone. */
async function oldestNeeded(): Promise<string> {
  const flat = (await client.xinfo('GROUPS', STREAM).catch((error: Error) => {
    if (!error.message.includes('no such key')) throw error
  })) as (string | number)[][] | undefined
  const groups = (flat ?? []).map((fields) => (name: string) => String(fields[fields.indexOf(name) + 1]))
  if (!groups.some((field) => field('name') === transfers.group)) return '0-0'
  const needed = await Promise.all(
    groups.map(async (field) => {
      const [, oldestPending] = await client.xpending(STREAM, field('name'))
      return String(oldestPending ?? field('last-delivered-id'))
    }),
  )
  const times = needed.map((id) => Number.parseInt(id, 10))
  return `${Math.max(0, Math.floor(Math.min(Date.now() - afterMs, ...times)))}-0`
}

/** Entries as lines of `[id, [name, value, …]]`, to S3 or into a folder. */
async function store(file: string, text: string): Promise<void> {
  if (ARCHIVE_FOLDER) return writeFile(join(ARCHIVE_FOLDER, file), text)
  if (!ARCHIVE_BUCKET) throw new Error('ARCHIVE_BUCKET, or ARCHIVE_FOLDER for local runs, must be set')
  const { PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const command = new PutObjectCommand({ Bucket: ARCHIVE_BUCKET, Key: `${STREAM}/${file}`, Body: text })
  await new S3Client().send(command, { abortSignal: AbortSignal.timeout(RESERVE_MS / 2) })
}
