import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { Order } from '../../functions/events/checkout.ts'

export type What = 'charges' | 'refunds' | 'parcels'

/** What becomes of a request: `fail` is an error, after which it may come again; `drop` does what is asked for, and then nobody hears of it. */
export type Fate = 'yes' | 'no' | 'fail' | 'drop' | 'refuse'

/** What was really done, an order each; twice the same one is money lost. */
type Ledger = Readonly<Record<What, readonly Order[]>>

export interface Partners {
  readonly url: string
  readonly ledger: Ledger
  /** How many requests came while the same one was under way, from somebody who still waits for its answer. */
  readonly overlaps: number
  close(): Promise<void>
}

/**
 * A payment provider and a carrier over HTTP, with a ledger that outlives whoever asks. They know a request by its idempotency key: what was done under it is answered again, and of
 * two at once one is a 409.
 *
 * @param fateOf Asked before anything is done; `attempt` counts from 1.
 * @param doneWith Awaited when something was done, ahead of its answer.
 */
export async function startPartners(
  fateOf: (what: What, order: Order, attempt: number) => Fate | Promise<Fate>,
  doneWith: (what: What) => unknown = () => {},
): Promise<Partners> {
  const ledger: Record<What, Order[]> = { charges: [], refunds: [], parcels: [] }
  const answers = new Map<string, boolean>()
  const attempts = new Map<string, number>()
  const underWay = new Map<string, ServerResponse>()
  let overlaps = 0
  const closed = new Set<string>()

  function carryOut(what: What, order: Order): boolean {
    const isTaken = ledger.charges.some(({ orderId }) => orderId === order.orderId)
    const isDone = what === 'parcels' || (what === 'charges' ? !closed.has(order.orderId) : isTaken)
    if (what === 'refunds') closed.add(order.orderId)
    if (isDone) ledger[what].push(order)
    return isDone
  }

  async function decide(what: What, key: string, order: Order): Promise<number | boolean | undefined> {
    const known = answers.get(key)
    if (known !== undefined) return known
    const asked = `${what} ${order.orderId}`
    const attempt = (attempts.get(asked) ?? 0) + 1
    attempts.set(asked, attempt)
    const fate = await fateOf(what, order, attempt)
    if (fate === 'fail') return 503
    if (fate === 'refuse') return 422
    const isDone = fate !== 'no' && carryOut(what, order)
    answers.set(key, isDone)
    await doneWith(what)
    return fate === 'drop' ? undefined : isDone
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const what = (request.url ?? '').slice(1) as What
    const key = String(request.headers['idempotency-key'])
    const order = (await json(request)) as Order
    const first = underWay.get(key)
    if (first) {
      // who was killed does not wait
      if (!first.closed) overlaps++
      return void response.writeHead(409).end()
    }
    underWay.set(key, response)
    const decided = await decide(what, key, order).finally(() => underWay.delete(key))
    if (decided === undefined) response.destroy()
    else if (typeof decided === 'number') response.writeHead(decided).end()
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ done: decided }))
  }

  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ledger,
    get overlaps() {
      return overlaps
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
