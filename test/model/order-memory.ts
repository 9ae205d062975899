import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock, Connection } from 'millrace'
import { RedisConnectionError } from 'millrace'
import { connectMemory } from 'millrace/testing'
import type { Group } from '../../src/group/group.ts'
import type { Fault, OrderServer, Process } from './order-world.ts'

const METHODS = /^(takeSlot|giveSlot|settle|ask|renew|finishClaims|heal|peek)/

/** Memory for `OrderWorld`. */
export class OrderMemory implements OrderServer {
  #offset = 0
  readonly #clock: Clock = {
    now: () => Date.now() + this.#offset,
    monotonic: () => performance.now(),
    after(ms, callback) {
      const timer = setTimeout(callback, ms)
      return () => clearTimeout(timer)
    },
  }
  readonly #memory = connectMemory({ clock: this.#clock })

  async add(fields: Readonly<Record<string, string>>): Promise<string> {
    const { append } = this.#memory
    const { answers } = (await append?.('orders', [Object.entries(fields)], { kind: 'none' })) ?? { answers: [] }
    return String(answers[0])
  }

  async undone(): Promise<number> {
    const { keys, settings } = this.#address
    const measured = await this.#memory.group({ stream: 'orders', group: 'billing', keys, settings } as never).measure()
    return measured ? measured.backlog.pending + (measured.backlog.lag ?? 0) : 1
  }

  #address = { keys: {} as never, settings: {} as never }

  async left(): Promise<string> {
    return JSON.stringify(this.#memory.pending('orders', 'billing'))
  }

  async pass(ms: number): Promise<void> {
    this.#offset += ms
  }

  async letters(): Promise<readonly string[]> {
    return []
  }

  async redrive(): Promise<void> {}

  async buried(): Promise<readonly string[]> {
    return this.#memory.entries('{orders}:billing:dlq').map(({ fields }) => String(new Map(fields).get('originalId')))
  }

  async dropLetters(): Promise<void> {
    this.#memory.trim('{orders}:billing:dlq', 0)
  }

  async loseGroup(): Promise<void> {
    this.#memory.destroyGroup('orders', 'billing')
  }

  async trim(count: number): Promise<void> {
    this.#memory.trim('orders', Math.max(0, this.#memory.entries('orders').length - count))
  }

  async pending(): Promise<readonly string[]> {
    return this.#memory.pending('orders', 'billing').map(({ id }) => id)
  }

  async isPlaced(): Promise<boolean> {
    return true
  }

  async has(id: string): Promise<boolean> {
    return this.#memory.entries('orders').some((entry) => entry.id === id)
  }

  connect(process: Process, fault: () => Fault | undefined): Connection {
    const lost = () => new RedisConnectionError('no answer')
    const lossy = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (_target, name) => {
          const member = target[name as keyof T] as unknown
          if (name === 'claims') return lossy(member as object)
          if (name === 'inOrder')
            return (...args: unknown[]) => lossy((member as (...args: unknown[]) => object).apply(target, args))
          if (typeof member !== 'function') return member
          const call = (...args: unknown[]) => (member as (...args: unknown[]) => unknown).apply(target, args)
          if (!METHODS.test(String(name))) return call
          return async (...args: unknown[]) => {
            if (process.isDead) throw lost()
            const what = fault()
            // as a request on its way, and an answer
            await sleep(0)
            if (what === 'late') process.late.push(sleep(30).then(() => call(...args)))
            if (what === 'never' || what === 'part' || what === 'late') throw lost()
            const answer = await call(...args)
            await sleep(0)
            if (process.isDead || what === 'unanswered') throw lost()
            return answer
          }
        },
        set: (_target, name, value) => {
          ;(target as Record<PropertyKey, unknown>)[name] = value
          return true
        },
      })
    const memory = this.#memory
    return {
      group: (address) => {
        this.#address = address as never
        return lossy(memory.group(address) as Group & object) as never
      },
      close: async () => {},
    }
  }
}
