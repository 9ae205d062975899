import { randomUUID } from 'node:crypto'
import type { BatchContext, BatchEvent, BatchResponse } from 'millrace'
import { NonRetryableError, UnavailableError } from 'millrace'
import * as z from 'zod/mini'
import { warehouseUrl } from '../shared/env.ts'

// checked when the module loads
const url = warehouseUrl()

/** Too busy, or there is a gateway and nobody behind it: what it may have ingested all the same replaces itself. */
const BUSY = [408, 429, 502, 503, 504]

/** Rows of one request. */
const MAX_ROWS = 200

const Answer = z.object({ refused: z.array(z.object({ id: z.string(), why: z.string() })) })

/** One of the warehouse's rows: of several with the same id the last one stays. */
interface Row {
  readonly id: string
  readonly [column: string]: unknown
}

/**
 * Loads a batch: its rows first, in several requests, then one flush that has the warehouse keep them. Events are acknowledged after the flush; where the process dies before that, they come
 * again, and their rows replace themselves. A row that the warehouse refuses is a dead letter, and no other.
 */
export async function loadRows(events: readonly BatchEvent[], { signal }: BatchContext): Promise<BatchResponse> {
  const rows = events.map(({ type, eventId, occurredAt, payload }) => ({ id: eventId, type, occurredAt, payload }))
  // what others load meanwhile is no part of it
  const batch = randomUUID()
  const refused = new Map<string, string>()
  for (let n = 0; n < rows.length; n += MAX_ROWS)
    for (const { id, why } of await ingest(batch, rows.slice(n, n + MAX_ROWS), signal)) refused.set(id, why)
  await flush(batch, signal)
  return {
    batchItemFailures: events.flatMap(({ entryId, eventId }) => {
      const why = refused.get(eventId)
      return why === undefined ? [] : [{ itemIdentifier: entryId, error: new NonRetryableError(`Refused: ${why}`) }]
    }),
  }
}

async function ingest(batch: string, rows: readonly Row[], signal: AbortSignal) {
  const response = await post('rows', batch, rows.map((row) => `${JSON.stringify(row)}\n`).join(''), signal)
  if (!response) return []
  const answer = Answer.safeParse(await response.json().catch(() => undefined))
  // what is wrong with it would be quoted by the dead letter
  if (!answer.success) throw new Error('The warehouse answered rows with no list of what it refused')
  return answer.data.refused
}

async function flush(batch: string, signal: AbortSignal): Promise<void> {
  const response = await post('flush', batch, '', signal)
  await response?.body?.cancel()
}

/** Without a warehouse nobody is asked, and nothing refused. */
async function post(what: string, batch: string, body: string, signal: AbortSignal): Promise<Response | undefined> {
  if (!url) return undefined
  const headers = { 'content-type': 'application/x-ndjson' }
  // whoever follows a redirect to a page takes that page's 200 for the warehouse's
  const init = { method: 'POST', headers, body, signal, redirect: 'manual' } as const
  const request = fetch(new URL(`${what}?batch=${batch}`, url), init)
  const response = await request.catch((error: Error) => {
    throw new UnavailableError('The warehouse cannot be reached', { cause: error })
  })
  if (response.ok) return response
  await response.body?.cancel()
  // it took nothing: the events are handed back, at no delivery
  if (BUSY.includes(response.status)) throw new UnavailableError('The warehouse takes nothing for now')
  throw new Error(`The warehouse answered ${what} with ${response.status}`)
}
