import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'

/** The secret of all of them: 24 bytes in base64. */
export const SECRET = `whsec_${Buffer.from('for demonstrations alone').toString('base64')}`

/** An answer: `drop` does what was asked for, and never says so; `hang` neither does nor answers. */
export type Fate = number | 'drop' | 'hang' | { readonly status: number; readonly headers: Record<string, string> }

/** A request as it came. */
export interface Received {
  readonly merchantId: string
  readonly eventId: string
  /** Of that event at that merchant, from 1. */
  readonly attempt: number
  /** What was sent as `data`. */
  readonly data: Record<string, unknown>
  /** Milliseconds since 1970. */
  readonly at: number
}

export interface Merchants {
  urlOf(merchantId: string): string
  /** All that came and was signed well. */
  readonly received: readonly Received[]
  /** What was not. */
  readonly forged: readonly string[]
  /** Ids of the events that each merchant has done: a repeat is known by its id, and done no second time. */
  readonly done: ReadonlyMap<string, readonly string[]>
  close(): Promise<void>
}

/**
 * Merchants' endpoints, a path each. They check signatures, as any receiver should, and know repeats.
 *
 * @param doneWith Awaited once an event was done, ahead of its answer.
 */
export async function startMerchants(
  fateOf: (received: Received) => Fate | Promise<Fate>,
  doneWith: (received: Received) => unknown = () => {},
): Promise<Merchants> {
  const [received, forged]: [Received[], string[]] = [[], []]
  const done = new Map<string, string[]>()

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const merchantId = (request.url ?? '').slice(1)
    const body = await text(request)
    const headers = request.headers as Record<string, string>
    const eventId = String(headers['webhook-id'])
    try {
      new Webhook(SECRET).verify(body, headers)
    } catch {
      forged.push(eventId)
      return void response.writeHead(401).end()
    }
    const attempt = 1 + received.filter((one) => one.eventId === eventId && one.merchantId === merchantId).length
    const one: Received = { merchantId, eventId, attempt, data: JSON.parse(body).data, at: Date.now() }
    received.push(one)
    const fate = await fateOf(one)
    if (fate === 'hang') return
    const { status, headers: answered } = typeof fate === 'object' ? fate : { status: fate, headers: {} }
    if (status === 'drop' || (status >= 200 && status < 300)) {
      const known = done.get(merchantId) ?? []
      if (!known.includes(eventId)) done.set(merchantId, [...known, eventId])
      await doneWith(one)
    }
    if (status === 'drop') response.destroy()
    else response.writeHead(status, answered).end()
  }

  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    urlOf: (merchantId) => `http://127.0.0.1:${port}/${merchantId}`,
    received,
    forged,
    done,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
