import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Urls } from './contend-millrace.ts'
import type { Measured } from './measure.ts'
import type { SideAnswer, SideRequest } from './side.ts'
import type { SideName } from './sides.ts'

/** A side in a process of its own: neither its heap nor what V8 has learnt of its code is another side's. */
export class SideProcess {
  readonly #name: SideName
  readonly #child: ChildProcess

  constructor(name: SideName, { url, adminUrl }: Urls) {
    this.#name = name
    // metrics and logs go to the standard output, where nobody wants them
    this.#child = fork(join(import.meta.dirname, 'side.ts'), [name, url, adminUrl], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
  }

  /** @throws {Error} The run failed, its checks did, or the process has ended. */
  async run(request: SideRequest): Promise<Measured> {
    const gone = new AbortController()
    const exited = once(this.#child, 'exit', { signal: gone.signal }).then(([code, signal]) => {
      throw new Error(`Cannot measure ${this.#name}: its process ended with ${code ?? signal}`)
    })
    exited.catch(() => {})
    this.#child.send(request)
    try {
      const [answer] = (await Promise.race([once(this.#child, 'message', { signal: gone.signal }), exited])) as [
        SideAnswer,
      ]
      if ('failure' in answer) throw new Error(`Cannot measure ${this.#name}: ${answer.failure}`)
      return answer.measured
    } finally {
      gone.abort()
    }
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.disconnect()
    await exited
  }
}
