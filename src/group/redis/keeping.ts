import type { Entry } from '../../core/entry.ts'
import { entryBytes } from '../../core/entry.ts'
import type { Blocker, BlockerReason } from '../../core/janitor-report.ts'
import { consumerKeys, keepingKeys } from '../../core/keys.ts'
import type { Connection } from '../connection.ts'
import type { EntryRange, Keeping, KeepingRequest, KeepingStep } from '../keeping.ts'
import { replyAsRecord, replyAsText, replyItems } from './commands/reply.ts'
import { parseXrange, xrange } from './commands/xrange.ts'
import { createOperatorSender } from './redis-connection.ts'
import { readBytesScript } from './scripts/read-bytes.ts'
import { releaseJanitorScript } from './scripts/release-janitor.ts'
import { trimDoneScript } from './scripts/trim-done.ts'
import type { CallSender, ScriptCall } from './sender.ts'
import type { RedisReply } from './transport.ts'

/**
 * What keeps a stream's registry and trims it over a connection. A connection to a server does not have it: a janitor brings it along.
 *
 * @param remainingMs Milliseconds in which an answer is still of use. Default: no end.
 */
export function keepingOf(action: string, redis: Connection, remainingMs?: () => number): Keeping {
  if (redis.keeping) return redis.keeping
  const sender = createOperatorSender(action, redis, remainingMs)
  let count = FIRST_PAGE
  return {
    async registered(stream) {
      const told = replyAsRecord(await sender.call(['hgetall', keepingKeys(stream).groups]))
      return new Map(Object.entries(told).map(([name, text]) => [name, replyAsText(text)]))
    },
    register: (stream, groups) => change(sender, keepingKeys(stream).groups, groups),
    keepFrom: (stream, floors) => change(sender, keepingKeys(stream).floors, floors),
    plan: async (stream, request) => parseStep(await sender.call(stepCall('plan', stream, request, ''))),
    settle: async (stream, request, range) =>
      parseStep(await sender.call(stepCall('settle', stream, request, rangeText(range)))),
    async read(stream, firstId, lastId) {
      const entries = await readPage(sender, stream, firstId, lastId, count)
      const largest = Math.max(1, ...entries.map(({ fields }) => entryBytes(fields)))
      count = Math.min(PAGE.entries, Math.max(1, Math.floor(PAGE.bytes / largest)))
      return entries
    },
    async release(stream, token) {
      await sender.call({ script: releaseJanitorScript, keys: [keepingKeys(stream).janitor], args: [token] })
    },
  }
}

/** What a page has at most, if its entries are as large as the largest one of the last page, and the entries of the first one. */
const PAGE = { bytes: 1024 * 1024, entries: 1_000 }
const FIRST_PAGE = 10

/** Fields of a hash: those without a text are taken off. */
async function change(
  sender: CallSender,
  key: string,
  fields: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const set = Object.entries(fields).filter(([, text]) => text !== undefined) as [string, string][]
  const off = Object.keys(fields).filter((name) => fields[name] === undefined)
  if (set.length > 0) await sender.call(['hset', key, ...set.flat()])
  if (off.length > 0) await sender.call(['hdel', key, ...off])
}

function stepCall(mode: 'plan' | 'settle', stream: string, request: KeepingRequest, settling: string): ScriptCall {
  const { groups, janitor, floors } = keepingKeys(stream)
  const ofGroups = request.groups.flatMap((group) => {
    const { state, due, waiting } = consumerKeys(stream, group)
    return [state, due, waiting]
  })
  const { token, leaseMs, archives, maxLength = '', retentionMs = '', beforeId = '', keepFrom = '' } = request
  return {
    script: trimDoneScript,
    keys: [stream, groups, janitor, floors, ...ofGroups],
    args: [
      mode,
      token,
      Math.ceil(leaseMs),
      archives ? 1 : 0,
      maxLength,
      retentionMs,
      beforeId,
      keepFrom,
      request.maxEntries,
      request.maxBytes,
      request.needsGroups ? 1 : 0,
      JSON.stringify(request.ignored),
      JSON.stringify(request.groups),
      JSON.stringify(request.denied),
      settling,
    ],
  }
}

function parseStep(reply: RedisReply): KeepingStep {
  const [is, groups, range, isRepeated, isArchived, trimmed, length, ahead, blockers, unregistered] = replyItems(reply)
  return {
    is: replyAsText(is) as KeepingStep['is'],
    groups: replyItems(groups).map(replyAsText),
    range: parseRange(replyAsText(range)),
    isRepeated: Number(isRepeated) === 1,
    isArchived: Number(isArchived) === 1,
    trimmed: Number(trimmed ?? 0),
    length: Number(length ?? 0),
    trimmedAhead: Number(ahead ?? 0),
    blockers: replyItems(blockers).map(parseBlocker),
    unregistered: replyItems(unregistered).map(replyAsText),
  }
}

function parseBlocker(reply: RedisReply): Blocker {
  const [name, reason, isRegistered, doneId, sinceMs] = replyItems(reply).map(replyAsText)
  return {
    name: name ?? '',
    reason: reason as BlockerReason,
    isRegistered: isRegistered === '1',
    doneId: doneId ?? '0-0',
    sinceMs: Number(sinceMs),
  }
}

function parseRange(text: string): EntryRange | undefined {
  const [firstId, lastId, entries] = text.split(' ')
  return firstId && lastId ? { firstId, lastId, entries: Number(entries) } : undefined
}

function rangeText({ firstId, lastId, entries }: EntryRange): string {
  return `${firstId} ${lastId} ${entries}`
}

/** A client that carries text writes this for bytes that are none. */
const LOST_BYTES = '\ufffd'

async function readPage(
  sender: CallSender,
  stream: string,
  firstId: string,
  lastId: string,
  count: number,
): Promise<Entry[]> {
  const entries = parseXrange(await sender.call(xrange(stream, firstId, lastId, count)))
  if (!entries.some(hasLostBytes)) return entries
  const call = { script: readBytesScript, keys: [stream], args: [firstId, lastId, count] }
  return parseXrange(await sender.call(call)).map(({ id, fields }) => ({
    id,
    fields: fields.map(([name, value]) => [readWritten(`${name}`), readWritten(`${value}`)] as const),
  }))
}

function hasLostBytes({ fields }: Entry): boolean {
  return fields.flat().some((text) => typeof text === 'string' && text.includes(LOST_BYTES))
}

function readWritten(text: string): Buffer {
  return Buffer.from(text.slice(1), text.startsWith('x') ? 'hex' : 'utf8')
}
