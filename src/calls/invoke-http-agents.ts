import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Two SYNs that were lost are sent again within that time. */
const CONNECT_TIMEOUT_MS = 3_100

/** The connections of synchronous calls: as many as there are calls, kept for the next ones of the same invocation. */
export class InvokeHttpAgents {
  readonly httpAgent = boundConnecting(new HttpAgent({ keepAlive: true }))
  readonly httpsAgent = boundConnecting(new HttpsAgent({ keepAlive: true }))
  #requestId: string | undefined

  /**
   * Closes what is left of other invocations: between two the environment was frozen, and nothing showed which connections were closed
   * meanwhile. A request on such a one would be lost, and it would not be known whether its function ran.
   */
  useFor(requestId: string): void {
    if (this.#requestId !== undefined && this.#requestId !== requestId) {
      for (const { freeSockets } of [this.httpAgent, this.httpsAgent])
        for (const socket of Object.values(freeSockets).flat()) socket?.destroy()
    }
    this.#requestId = requestId
  }
}

/**
 * Gives up on connections that nobody answers, as from a VPC without a way to Lambda, with an error that says so: nothing was sent. The SDK's
 * own option leaves its timer behind.
 */
function boundConnecting<A extends HttpAgent>(agent: A): A {
  const connect = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = connect(options, callback)
    if (socket) bound(socket as Socket)
    return socket
  }
  return agent
}

function bound(socket: Duplex): void {
  const timer = setTimeout(() => {
    const text = `connect ETIMEDOUT: no connection within ${CONNECT_TIMEOUT_MS} ms`
    socket.destroy(Object.assign(new Error(text), { code: 'ETIMEDOUT', syscall: 'connect' }))
  }, CONNECT_TIMEOUT_MS)
  const over = () => clearTimeout(timer)
  socket.once('connect', over).once('close', over)
}
