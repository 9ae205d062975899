import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** A request that the proxy holds back, with all that its connection sends after it. */
interface HeldRequest {
  release(): void
}

/**
 * A TCP proxy that fails on command.
 *
 * A request is what one read of the client's socket gave: in practice one write of up to 64 KiB, so a pipeline is one
 * request and a larger write is several. Requests are matched by the bytes they hold, whatever their case. Each trap
 * springs once, on the first request that holds its text; its promise stays pending until then.
 */
export interface FaultProxy {
  readonly url: string
  readonly port: number
  /** Milliseconds added to each request; several may be on their way at once. Default 0. */
  latencyMs: number
  /** Connections accepted so far. */
  readonly connections: number
  /** Requests received so far. */
  readonly requests: number
  /** Severs the connection before the server sees the request. */
  cutBefore(match: string): Promise<void>
  /** Severs the connection when the server answers, before the client sees it. Nothing else may be under way there. */
  cutAfter(match: string): Promise<void>
  /** Lets that many bytes of the server's answer through; from then on the connection is as after `freezeLinks`. */
  freezeAfter(match: string, bytes: number): Promise<void>
  /** Holds the request back until it is released; other connections go on. */
  pauseOn(match: string): Promise<HeldRequest>
  /** A black hole: from now on no byte and no close gets through, either way, on any connection. */
  stall(): void
  /** Ends a stall; what was held back is delivered. */
  resume(): void
  /** A black hole, as after a freeze, for what is connected now and for good: no byte and no close gets through. What connects later works. */
  freezeLinks(): void
  severAll(): void
  /** Severs what is connected and stops listening. May be called twice. */
  close(): Promise<void>
}

interface Trap {
  readonly kind: 'cutBefore' | 'cutAfter' | 'pause' | 'freezeAfter'
  readonly bytes: number
  readonly match: string
  readonly sprung: (held: HeldRequest) => void
}

interface Link {
  readonly client: Socket
  readonly server: Socket
  readonly severed: AbortController
  /** Set while the next bytes of the server are to sever the link. */
  cut?: () => void
  /** Set while only so many bytes of the server's answer get through. */
  freeze?: { readonly bytes: number; readonly done: () => void }
  /** Set once nothing gets through any more; resolves when the link is severed. */
  frozen?: PromiseWithResolvers<void>
}

/** How much may wait in one direction of a link before its sender is held back. */
const maxWaitingBytes = 1024 * 1024

/** Starts a proxy on a free port of 127.0.0.1. */
export async function startFaultProxy(target: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
  const links = new Set<Link>()
  const traps: Trap[] = []
  let stalled: PromiseWithResolvers<void> | undefined
  let connections = 0
  let requests = 0

  const listener = createServer({ noDelay: true }, (client) => {
    connections += 1
    const server = connect({ host: target.host, port: target.port, noDelay: true })
    const link: Link = { client, server, severed: new AbortController() }
    links.add(link)
    forward(link, client, server, (chunk, arrivedAt) => passRequest(link, chunk, arrivedAt))
    forward(link, server, client, (chunk) => passReply(link, chunk))
    for (const socket of [client, server]) {
      socket.on('error', () => {})
      socket.on('close', () => client.closed && server.closed && links.delete(link))
    }
  })

  /** Hands chunks on in order, each once `pass` resolves to true, and then the close. */
  function forward(
    link: Link,
    from: Socket,
    to: Socket,
    pass: (chunk: Buffer, arrivedAt: number) => Promise<boolean>,
  ): void {
    let last = Promise.resolve()
    let waitingBytes = 0
    from.on('data', (chunk: Buffer) => {
      const arrivedAt = performance.now()
      waitingBytes += chunk.length
      if (waitingBytes > maxWaitingBytes) from.pause()
      last = last.then(async () => {
        if ((await pass(chunk, arrivedAt)) && to.writable) to.write(chunk)
        waitingBytes -= chunk.length
        if (from.isPaused() && waitingBytes <= maxWaitingBytes) from.resume()
      })
    })
    from.on('close', () => {
      last = last.then(() => blackHole(link)).then(() => void to.end())
    })
  }

  async function passRequest(link: Link, chunk: Buffer, arrivedAt: number): Promise<boolean> {
    requests += 1
    const wait = arrivedAt + proxy.latencyMs - performance.now()
    if (wait > 0) await delay(wait, undefined, { signal: link.severed.signal }).catch(() => {})
    await blackHole(link)
    if (link.severed.signal.aborted) return false
    const trap = takeTrap(chunk)
    if (trap?.kind === 'pause') await new Promise<void>((release) => trap.sprung({ release }))
    if (trap?.kind === 'cutAfter') link.cut = () => trap.sprung({ release() {} })
    if (trap?.kind === 'freezeAfter') link.freeze = { bytes: trap.bytes, done: () => trap.sprung({ release() {} }) }
    if (trap?.kind !== 'cutBefore') return true
    sever(link)
    trap.sprung({ release() {} })
    return false
  }

  async function passReply(link: Link, chunk: Buffer): Promise<boolean> {
    await blackHole(link)
    if (link.freeze) {
      if (link.freeze.bytes > 0) link.client.write(chunk.subarray(0, link.freeze.bytes))
      link.frozen ??= Promise.withResolvers()
      link.freeze.done()
      return false
    }
    if (link.cut === undefined) return true
    sever(link)
    link.cut()
    return false
  }

  async function blackHole(link: Link): Promise<void> {
    await stalled?.promise
    await link.frozen?.promise
  }

  function takeTrap(chunk: Buffer): Trap | undefined {
    if (traps.length === 0) return undefined
    const text = chunk.toString('utf8').toLowerCase()
    const found = traps.findIndex((trap) => text.includes(trap.match))
    return found < 0 ? undefined : traps.splice(found, 1)[0]
  }

  function sever(link: Link): void {
    link.severed.abort()
    link.frozen?.resolve()
    link.client.destroy()
    link.server.destroy()
  }

  function setTrap(kind: Trap['kind'], match: string, bytes = 0): Promise<HeldRequest> {
    return new Promise((sprung) => traps.push({ kind, match: match.toLowerCase(), bytes, sprung }))
  }

  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo

  const proxy: FaultProxy = {
    url: `redis://127.0.0.1:${port}`,
    port,
    latencyMs: 0,
    get connections() {
      return connections
    },
    get requests() {
      return requests
    },
    cutBefore: async (match) => void (await setTrap('cutBefore', match)),
    cutAfter: async (match) => void (await setTrap('cutAfter', match)),
    freezeAfter: async (match, bytes) => void (await setTrap('freezeAfter', match, bytes)),
    pauseOn: (match) => setTrap('pause', match),
    stall() {
      stalled ??= Promise.withResolvers()
    },
    resume() {
      stalled?.resolve()
      stalled = undefined
    },
    freezeLinks() {
      for (const link of links) link.frozen ??= Promise.withResolvers()
    },
    severAll() {
      for (const link of links) sever(link)
    },
    async close() {
      if (!listener.listening) return
      const closed = once(listener, 'close')
      listener.close()
      proxy.severAll()
      await closed
    },
  }
  return proxy
}
