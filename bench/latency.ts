import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

/**
 * A TCP proxy that holds every request back for `latencyMs`, as a network further away would. It runs in a thread of its own, and sleeps
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
}

export async function startLatencyProxy(target: Target): Promise<LatencyProxy> {
  const worker = new Worker(new URL(import.meta.url), { workerData: target })
  const [port] = (await once(worker, 'message')) as [number]
  return { url: `redis://127.0.0.1:${port}`, close: async () => void (await worker.terminate()) }
}

if (!isMainThread) await serve(workerData as Target)

async function serve({ host, port, latencyMs }: Target): Promise<void> {
  const never = new Int32Array(new SharedArrayBuffer(4))
  const listener = createServer({ noDelay: true }, (client) => {
    const server = connect({ host, port, noDelay: true })
    client.on('data', (request) => {
      Atomics.wait(never, 0, 0, latencyMs)
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
