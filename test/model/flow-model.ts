import { setImmediate } from 'node:timers/promises'
import * as z from 'zod/mini'
import { connectMemory } from '../../src/group/memory/memory-connection.ts'
import type { Connection, Consumer, Report } from '../../src/index.ts'
import {
  circuitBreaker,
  claim,
  concurrencyLimit,
  createPublisher,
  defineConsumer,
  defineEvent,
  on,
  poll,
  RedisConnectionError,
  rateLimit,
} from '../../src/index.ts'
import type { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'
import type { BothSides } from '../support/both-sides.ts'
import { bothSides } from '../support/both-sides.ts'
import { assert } from './assert.ts'

const STREAM = 'orders'
const GROUP = 'billing'
const BREAKERS = `{${STREAM}}:${GROUP}:breakers`
const HOUR_MS = 3_600_000
/** Longer than any lease, wait or window of a plan. */
const LONG_MS = 400_000
const MOST_ROUNDS = 60

const Paid = defineEvent('Paid', { payload: z.object({ key: z.string() }) })

/** What all processes of a plan have in common. */
interface FlowSetting {
  readonly failures: number
  readonly probeAfterMs: number
  readonly rate: { readonly max: number; readonly perMs: number } | undefined
  readonly places: number | undefined
  readonly concurrency: number
  readonly handlerMs: number
}

export type FlowCommand =
  | { readonly do: 'publish'; readonly keys: readonly string[] }
  | { readonly do: 'poll' | 'claim' }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'outage'; readonly isOut: boolean }
  /** The process is gone, with its handlers. */
  | { readonly do: 'crash'; readonly who: number }
  /** The next requests of its gate are not answered, though carried out or not; or are carried out once more when others were. */
  | { readonly do: 'lose'; readonly who: number; readonly what: readonly Loss[] }

export type Loss = 'request' | 'answer' | 'late'

export interface FlowPlan {
  readonly setting: FlowSetting
  readonly commands: readonly FlowCommand[]
}

interface Process {
  readonly name: string
  isDead: boolean
  isOver: boolean
  readonly losses: Loss[]
  readonly running: Set<string>
}

/**
 * Plays a plan of runs with a circuit breaker, a rate limit and a concurrency limit, in memory and in virtual time.
 *
 * @throws {Error} More places are held than there are, a window has too many turns, an outage costs too much, or something waits for ever.
 */
export async function playFlow({ setting, commands }: FlowPlan): Promise<void> {
  const flow = new Flow(setting)
  for (const command of commands) await flow.carryOut(command)
  await flow.drain()
}

class Flow {
  readonly #clock: VirtualClock = createVirtualClock()
  readonly #redis = connectMemory({ clock: this.#clock })
  readonly #setting: FlowSetting
  readonly #publisher = createPublisher({ stream: STREAM, redis: this.#redis })
  readonly #processes: Process[] = []
  /** When handlers started. */
  readonly #starts: number[] = []
  readonly #handled = new Set<string>()
  #published = 0
  #isOut = false
  #outages = 0
  /** Deliveries that crashes and lost requests may have spent. */
  #lost = 0
  #isDisturbed = false

  constructor(setting: FlowSetting) {
    this.#setting = setting
  }

  async carryOut(command: FlowCommand): Promise<void> {
    this.#isDisturbed ||= command.do === 'crash' || command.do === 'lose'
    switch (command.do) {
      case 'publish':
        for (const key of command.keys)
          await this.#publisher.publish(Paid, { key }, { eventId: `e${++this.#published}` })
        break
      case 'poll':
      case 'claim':
        if (this.#live().length < 4) this.#start(command.do)
        break
      case 'pass':
        await this.#clock.advance(command.ms)
        break
      case 'outage':
        if (command.isOut && !this.#isOut) this.#outages++
        this.#isOut = command.isOut
        break
      case 'crash':
        this.#crash(this.#chosen(command.who))
        break
      case 'lose':
        this.#chosen(command.who)?.losses.push(...command.what)
    }
    await setImmediate()
    this.#check()
  }

  /** All that is left is done, and nothing waits for ever. */
  async drain(): Promise<void> {
    await this.carryOut({ do: 'outage', isOut: false })
    for (const process of this.#processes) process.losses.length = 0
    await this.carryOut({ do: 'poll' })
    for (let round = 0; this.#handled.size < this.#published || this.#pending().length > 0; round++) {
      assert(round < MOST_ROUNDS, `after ${round} rounds there are still ${JSON.stringify(this.#pending())}`)
      await this.carryOut({ do: 'poll' })
      await this.carryOut({ do: 'claim' })
      for (let ms = 0; ms < LONG_MS; ms += 10_000) await this.carryOut({ do: 'pass', ms: 10_000 })
    }
    await this.carryOut({ do: 'pass', ms: LONG_MS })
    assert(this.#live().length === 0, 'a run did not end')
    const [open] = await this.#redis.group(this.#consumer(this.#processes[0] as Process)).ask([['HGETALL', BREAKERS]])
    // who crashed after its probe had succeeded has not said so
    const isOpen = [open].flat().some((field) => String(field).startsWith('until '))
    if (!this.#isDisturbed) assert(!isOpen, `a circuit breaker stays open: ${String(open)}`)
  }

  #start(kind: 'poll' | 'claim'): void {
    const process: Process = { name: kind, isDead: false, isOver: false, losses: [], running: new Set() }
    this.#processes.push(process)
    const run = kind === 'poll' ? poll : claim
    const options = { redis: this.#connect(process), clock: this.#clock, remainingMs: 60_000 }
    const end = (report?: Report, error?: unknown) => {
      process.isOver = true
      if (error !== undefined && !process.isDead) this.#lost += this.#setting.concurrency
      return report
    }
    run(this.#consumer(process), options).then(end, (error: unknown) => end(undefined, error))
  }

  #consumer(process: Process): Consumer {
    const { failures, probeAfterMs, rate, places, concurrency, handlerMs } = this.#setting
    const handle = async (eventId: string) => {
      if (process.isDead) return new Promise<void>(() => {})
      process.running.add(eventId)
      this.#starts.push(this.#clock.now())
      this.#check()
      await new Promise<void>((resolve) => void this.#clock.after(handlerMs, resolve))
      process.running.delete(eventId)
      if (this.#isOut) throw new Error('out')
      if (!process.isDead) this.#handled.add(eventId)
    }
    return defineConsumer({
      stream: STREAM,
      group: GROUP,
      routes: [on(Paid, ({ eventId }) => handle(eventId))],
      use: [
        circuitBreaker({ failures, perMs: 100 * HOUR_MS, probeAfterMs }),
        ...(rate ? [rateLimit(rate)] : []),
        ...(places ? [concurrencyLimit({ max: places })] : []),
      ],
      concurrency,
      handlerTimeoutMs: 5_000,
      // what crashes spend never kills
      maxDeliveries: 1_000,
      backoff: { firstMs: 1_000, factor: 1, maxMs: 1_000 },
    })
  }

  /** A connection of a process, whose requests end with it, and whose gate loses requests. */
  #connect(process: Process): Connection {
    const gone = () => new RedisConnectionError('the connection is gone')
    const late: (() => Promise<unknown>)[] = []
    return {
      group: (address, remainingMs) => {
        const both = bothSides(this.#redis.group(address, remainingMs), (group) => ({
          ask: async (questions) => {
            const loss = process.losses.shift()
            if (loss === 'request') throw gone()
            const replies = await group.ask(questions)
            for (const again of late.splice(0)) await again()
            if (loss === 'late') late.push(() => group.ask(questions))
            if (loss === 'answer') throw gone()
            return replies
          },
        }))
        return new Proxy(both, {
          get: (target, name: keyof BothSides, self) => {
            if (name === 'claims') return self
            const member: unknown = target[name]
            if (typeof member !== 'function') return member
            return (...args: unknown[]) => (process.isDead ? Promise.reject(gone()) : member.apply(target, args))
          },
        })
      },
      close: () => this.#redis.close(),
    }
  }

  #crash(process: Process | undefined): void {
    if (!process) return
    process.isDead = true
    this.#lost += this.#pending().filter(({ consumerName }) => !consumerName.startsWith('parked')).length
  }

  #check(): void {
    const { places, rate, failures } = this.#setting
    const running = this.#processes.filter(({ isDead }) => !isDead).flatMap((one) => [...one.running])
    assert(places === undefined || running.length <= places, `${running.length} run in ${places} places`)
    if (rate) {
      const [last = 0] = this.#starts.slice(-1)
      const within = this.#starts.filter((at) => at > last - rate.perMs).length
      assert(within <= rate.max, `${within} turns within ${rate.perMs} ms`)
    }
    const letters = this.#redis.entries(`{${STREAM}}:${GROUP}:dlq`).length
    assert(letters === 0, 'there are dead letters')
    // who is in the hands of a run has its delivery counted already
    const inHand = this.#pending().filter(({ consumerName }) => /^(poller|claimer)/.test(consumerName)).length
    const spent = this.#pending().reduce((sum, { deliveryCount }) => sum + deliveryCount, 0) - inHand
    const most = (failures - 1) * Math.max(1, this.#outages) + this.#lost
    assert(spent <= most, `${spent} deliveries are spent, ${most} at most: ${JSON.stringify(this.#pending())}`)
  }

  #pending() {
    return this.#redis.pending(STREAM, GROUP)
  }

  #live(): readonly Process[] {
    return this.#processes.filter(({ isDead, isOver }) => !isDead && !isOver)
  }

  #chosen(who: number): Process | undefined {
    const live = this.#live()
    return live[who % live.length]
  }
}
