import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { ConsumerOptions, Report } from 'millrace'
import { onTestFinished } from 'vitest'

export interface VictimOrder {
  readonly url: string
  readonly action: 'poll' | 'claim'
  readonly options: Partial<ConsumerOptions>
  /** The order that ends the process. */
  readonly poison?: string
  /** How it ends it. Default `exit`. */
  readonly death?: Death
  /** Deliveries at which every handler, the poison's too, throws. Default 0. */
  readonly failures?: number
  /** Milliseconds a handler takes; less than 0: it waits for nothing. Default 0. */
  readonly handlerMs?: number
  /** For how long it remembers what it handled. Left out: its consumer is not `idempotent`. */
  readonly ttlMs?: number
}

/**
 * What the poison's handler does: ends the process at once, has a detached promise or a timer throw while it goes on, fills the heap, or,
 * until somebody kills the process, never returns and ignores its signal, or blocks the event loop.
 */
export type Death = 'exit' | 'rejection' | 'exception' | 'memory' | 'hang' | 'loop'

/** A process that polls or claims. */
export interface Victim {
  /** Orders whose handler finished, so far. */
  readonly handled: readonly string[]
  readonly report: Report | undefined
  /** Resolves when a handler has finished that order. */
  finished(orderId: string): Promise<void>
  /** Resolves when the poison's handler has started; never if it does not. */
  readonly poisoned: Promise<void>
  /** Stops it where it is, as Lambda does between invocations; its sockets stay. */
  freeze(): void
  thaw(): void
  /** Ends it the hard way, and waits until it is gone. */
  kill(): Promise<void>
  /** The exit code, once it is gone by itself. */
  readonly exit: Promise<number | null>
}

const PROGRAM = new URL('./victim.ts', import.meta.url).pathname

export function startVictim(order: VictimOrder): Victim {
  // what a process says when it dies of memory or of an exception is of no use here
  const isNoisy = order.death !== undefined && order.death !== 'exit'
  const limits = order.death === 'memory' ? ['--max-old-space-size=24'] : []
  const child = spawn('node', [...limits, PROGRAM, JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', isNoisy ? 'ignore' : 'inherit'],
  })
  const exit = once(child, 'close').then(([code]) => code as number | null)
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const handled: string[] = []
  const waiting = new Map<string, () => void>()
  const poisoned = Promise.withResolvers<void>()
  let report: Report | undefined
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('report ')) report = JSON.parse(line.slice(7)) as Report
      else if (line === 'poisoned') poisoned.resolve()
      else {
        const orderId = line.slice('handled '.length)
        handled.push(orderId)
        waiting.get(orderId)?.()
      }
    }
  })
  return {
    handled,
    exit,
    poisoned: poisoned.promise,
    get report() {
      return report
    },
    finished: (orderId) =>
      new Promise((resolve) => (handled.includes(orderId) ? resolve() : waiting.set(orderId, resolve))),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async kill() {
      child.kill('SIGKILL')
      await exit
    },
  }
}
