import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { addressesOf } from './addresses.ts'

/** What of a response is read: nobody needs it, but a server that finds its client gone may think that it was not heard. */
const MOST_BYTES = 65_536

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
  const addresses = await addressesOf(url).catch(({ code }) =>
    code === 'ERR_NON_RETRYABLE' ? 'forbidden' : 'unreachable',
  )
  if (typeof addresses === 'string') return { status: addresses }
  const found = addresses.map((address) => ({ address, family: isIP(address) }))
  const lookup: LookupFunction = (_hostname, { all }, done) =>
    all ? done(null, found) : done(null, found[0]?.address ?? '', found[0]?.family)
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
    sent.on('error', () => resolve(signal.aborted && answer.status === 'unreachable' ? { status: 'timeout' } : answer))
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
