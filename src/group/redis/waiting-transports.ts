import type { Transport, WaitingTransport } from './transport.ts'

/** The connections of those who listen, one each, for as long as they listen: what a function is frozen with would be dead when it goes on. */
export class WaitingTransports {
  readonly #transport: Transport
  readonly #taken = new Set<WaitingTransport>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** A connection; `undefined` where no request can wait. */
  take(): WaitingTransport | undefined {
    const transport = this.#transport.waiting?.()
    if (transport) this.#taken.add(transport)
    return transport
  }

  async leave(transport: WaitingTransport): Promise<void> {
    this.#taken.delete(transport)
    await transport.close()
  }

  async close(): Promise<void> {
    await Promise.all([...this.#taken].map((transport) => this.leave(transport)))
  }
}
