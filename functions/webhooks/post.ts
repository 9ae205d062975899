import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { addressesOf } from './addresses.ts'

/** What of a response is read: nobody needs it, but a server that finds its client gone may think that it was not heard. */
const MOST_BYTES = 65_536

const TIMEOUT = { status: 'timeout' } as const

/** What an endpoint answered, in words where it did not; `forbidden` is where nobody may send us. */
export interface Answer {
  readonly status: number | 'timeout' | 'unreachable' | 'forbidden'
  /** The header, as it came. */
  readonly retryAfter?: string | undefined
}

/**
 * Posts JSON over a connection of its own, and follows no redirect. The status is what counts: of the body up to 64 KB are read, and dropped.
 *
 * @param signal Ends it: no status until then is a timeout.
 */
export async function post(
  url: URL,
  body: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Answer> {
  if (signal.aborted) return TIMEOUT
  // name servers may take longer than that
  const over = Promise.withResolvers<'timeout'>()
  signal.addEventListener('abort', () => over.resolve('timeout'))
  const found = addressesOf(url).catch(({ code }) => (code === 'ERR_NON_RETRYABLE' ? 'forbidden' : 'unreachable'))
  const addresses = await Promise.race([over.promise, found])
  if (typeof addresses === 'string') return { status: addresses }
  const checked = addresses.map((address) => ({ address, family: isIP(address) }))
  const lookup: LookupFunction = (_hostname, { all }, done) =>
    all ? done(null, checked) : done(null, checked[0]?.address ?? '', checked[0]?.family)
  const request = url.protocol === 'https:' ? requestHttps : requestHttp
  const length = String(Buffer.byteLength(body))
  return new Promise((resolve) => {
    const sent = request(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': length, ...headers },
      agent: false,
      lookup,
      signal,
    })
    let answer: Answer = { status: 'unreachable' }
    sent.on('error', () => resolve(signal.aborted && answer.status === 'unreachable' ? TIMEOUT : answer))
    // 101 that nobody asked for: there would be neither a response nor an error
    sent.on('upgrade', ({ statusCode: status = 101 }, socket) => {
      socket.destroy()
      resolve({ status })
    })
    sent.on('response', (response) => {
      let bytes = 0
      answer = { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] }
      response.on('data', ({ length }: Buffer) => {
        bytes += length
        if (bytes >= MOST_BYTES) response.destroy()
      })
      response.on('error', () => {})
      response.on('close', () => resolve(answer))
    })
    sent.end(body)
  })
}
