import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A server that takes few arguments per request, and how often it had to refuse one. */
export interface NarrowServer {
  readonly url: string
  readonly refused: number
  /** Arguments of the largest request that was taken. */
  readonly most: number
  close(): Promise<void>
}

/** What stands in place of a request that is refused, so that its error comes in its turn. */
const REFUSAL = `return redis.error_reply('ERR too many arguments in a request')`

/** A stand-in for a service like ElastiCache Serverless, in front of a real server: a request of more arguments goes no further. */
export async function startNarrowServer(
  target: { readonly host: string; readonly port: number },
  mostArguments = 3_999,
): Promise<NarrowServer> {
  let refused = 0
  let most = 0
  const sockets = new Set<Socket>()
  const listener = createServer({ noDelay: true }, (client) => {
    const server = connect({ ...target, noDelay: true })
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => [client, server].forEach((one) => void one.destroy()))
    }
    server.pipe(client)
    let rest = Buffer.alloc(0)
    client.on('data', (chunk) => {
      rest = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
      for (let end = endOfRequest(rest); end > 0; end = endOfRequest(rest)) {
        const count = countOf(rest)
        if (count > mostArguments) refused++
        else most = Math.max(most, count)
        server.write(count > mostArguments ? request('EVAL', REFUSAL, '0') : rest.subarray(0, end))
        rest = rest.subarray(end)
      }
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    url: `redis://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    get refused() {
      return refused
    },
    get most() {
      return most
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      listener.close()
      await once(listener, 'close')
    },
  }
}

function request(...words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}

const countOf = (bytes: Buffer, at = 0) => Number(bytes.toString('latin1', at + 1, bytes.indexOf('\r\n', at)))

/** Where the first request ends, 0 while not all of it is there. */
function endOfRequest(bytes: Buffer): number {
  const end = bytes.indexOf('\r\n')
  if (end < 0) return 0
  let at = end + 2
  for (let left = countOf(bytes); left > 0; left--) {
    const line = bytes.indexOf('\r\n', at)
    if (line < 0) return 0
    at = line + 2 + countOf(bytes, at) + 2
    if (at > bytes.length) return 0
  }
  return at
}
