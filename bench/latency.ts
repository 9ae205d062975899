import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

/** What keeps a server's answers back, by name: milliseconds, of which requests. */
export const DELAYS = {
  /** A network further away: every request. */
  far: { latencyMs: 2, held: '' },
  /** A log of several availability zones, as ElastiCache's `Durability: sync` has it: what writes, once however much is in one request. */
  durable: { latencyMs: 5, held: '\r\n(xreadgroup|xack|xadd|eval|evalsha|xgroup|set|del)\r\n' },
} as const

/** A place where a server is, other than here. */
export type Place = keyof typeof DELAYS

/**
 * A TCP proxy that holds requests back for `latencyMs`. It runs in a thread of its own, and sleeps
 * there rather than wait for a timer: a timer is wrong by up to a millisecond.
 */
export interface LatencyProxy {
  readonly url: string
  close(): Promise<void>
}

interface Target {
  readonly host: string
  readonly port: number
  readonly latencyMs: number
  /** A pattern, of any case, of the requests that it holds back. */
  readonly held: string
}

export async function startLatencyProxy(target: Target): Promise<LatencyProxy> {
  const worker = new Worker(new URL(import.meta.url), { workerData: target })
  const [port] = (await once(worker, 'message')) as [number]
  return { url: `redis://127.0.0.1:${port}`, close: async () => void (await worker.terminate()) }
}

if (!isMainThread) await serve(workerData as Target)

async function serve({ host, port, latencyMs, held }: Target): Promise<void> {
  const isHeld = new RegExp(held, 'i')
  const never = new Int32Array(new SharedArrayBuffer(4))
  const listener = createServer({ noDelay: true }, (client) => {
    const server = connect({ host, port, noDelay: true })
    client.on('data', (request) => {
      if (isHeld.test(request.toString('latin1'))) Atomics.wait(never, 0, 0, latencyMs)
      server.write(request)
    })
    server.pipe(client)
    client.on('close', () => server.destroy())
    for (const socket of [client, server]) socket.on('error', () => client.destroy())
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  parentPort?.postMessage((listener.address() as AddressInfo).port)
}
