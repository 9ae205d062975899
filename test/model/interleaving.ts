import { setImmediate } from 'node:timers/promises'
import { WHOLE_GROUP } from '../../src/core/pauses.ts'
import type { Connection } from '../../src/group/connection.ts'
import type { HandlerContext, InvocationFailedError, Report } from '../../src/index.ts'
import { claim, defineConsumer, NonRetryableError, on, poll, RetryAfterError } from '../../src/index.ts'
import { assert } from './assert.ts'
import type { Command, Delayed, PausedWhat, Plan, Setting } from './commands.ts'
import { cancelEvent, delayEvents, OlderOrderPaid, OrderPaid, observedPromoter, promoteDue } from './delay-clients.ts'
import type { Published, Result } from './model.ts'
import { isDelivered, MIN_IDLE_MS, Model } from './model.ts'
import { handledOnce, once, serial, shelf } from './policies.ts'
import type { Operation, Timer } from './process.ts'
import { Process } from './process.ts'
import type { Behaviour, Loss, Method, ProcessKind, World } from './world.ts'
import { GROUP, STREAM } from './world.ts'

const SOON_MS = 5_000
const LATER_MS = 150_000
/** Longer than a lease, than any wait for a retry, and than the idle time after which an entry is taken over. */
const LONG_MS = 500_000
/** Time for handlers side by side, and none after them. */
const SHORT_MS = 12_000
const LISTENING_MS = 40_000
/** How much later at least a call is carried out that its caller has given up. */
const STALL_MS = 1_000
/** Of pollers and claimers, and of others. */
const MOST_PROCESSES = 4
const MOST_ROUNDS = 200
const MOST_STEPS = 5_000
const MOST_CALLS = 2_000
/** What a process may call while time goes by: for what it settles and starts, and to see whether there is more. */
const CALLS = { atOnce: 60, perEntry: 20, perSecond: 45 }

/**
 * Plays a plan on a world. After each command the server must hold what the model allows; at the end all work is done, once without and
 * once with the processes that were frozen, and nothing may be left.
 *
 * @throws {Error} Something does not hold; the message tells the story.
 */
export async function play(world: World, { setting, commands }: Plan): Promise<void> {
  const interleaving = new Interleaving(world, setting)
  try {
    await world.clear()
    for (const command of commands) await interleaving.carryOut(command)
    await interleaving.drain()
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\nIn ${world.name}:\n${interleaving.story.join('\n')}\n`, {
      cause: error,
    })
  }
}

class Interleaving {
  readonly story: string[] = []
  readonly #world: World
  readonly #setting: Setting
  readonly #model: Model
  readonly #time = { nowMs: Date.UTC(2030, 0, 1) }
  #processes: Process[] = []
  #started = 0
  /** The server refuses dead letters. */
  #isJammed = false
  /** Processes start with the older version. */
  #isOlder = false
  /** How often the server lost something, or changed its mind about dead letters: a run that sees it may fail. */
  #troubles = 0
  /** What does not hold, as a callback found. */
  #found: unknown

  constructor(world: World, setting: Setting) {
    this.#world = world
    this.#setting = setting
    this.#model = new Model(setting, () => world.driftMs())
  }

  async carryOut(command: Command): Promise<void> {
    this.#model.tick++
    switch (command.do) {
      case 'publish':
        await this.#publish(command.entries, command.isNewer)
        break
      case 'repeat':
        await this.#publish(command.entries, false, chosen(this.#model.entries.toReversed(), command.which))
        break
      case 'poll':
      case 'claim':
        if (this.#hasRoom(true)) await this.#start(command.do, command.remainingMs)
        break
      case 'delay':
        if (this.#hasRoom(false)) await this.#delay(command.events, command.again)
        break
      case 'cancel':
        if (this.#hasRoom(false)) await this.#cancel(command.which)
        break
      case 'promote':
        if (this.#hasRoom(false)) await this.#promote()
        break
      case 'trim':
        await this.#trim(command.which)
        break
      case 'lose':
        await this.#lose(command.what)
        break
      case 'jam':
        this.#note(`dead letters are ${command.isJammed ? 'refused' : 'taken'}`)
        this.#isJammed = command.isJammed
        this.#troubles++
        await this.#world.jam(command.isJammed)
        break
      case 'pass':
        this.#note(`${command.ms} ms pass${command.isPrompt ? '' : ', and nothing is answered'}`)
        await this.#pass(command.ms, command.isPrompt)
        break
      case 'deploy':
        this.#note(`the ${command.isOlder ? 'older' : 'newer'} version is deployed`)
        this.#isOlder = command.isOlder
        break
      case 'pause':
        await this.#pause(command.what)
        break
      case 'deliver':
        await this.#deliver(command.times)
        break
      case 'thaw':
        await this.#thaw(
          chosen(
            this.#live().filter(({ isFrozen }) => isFrozen),
            command.who,
          ),
        )
        break
      default:
        await this.#have(command)
    }
    await this.#check()
  }

  /** Has all work done. Who is frozen comes back when it is, and what the server stalled is carried out; neither must undo anything then. */
  async drain(): Promise<void> {
    this.#note('all goes to its end')
    await this.carryOut({ do: 'jam', isJammed: false })
    await this.carryOut({ do: 'pause', what: undefined })
    await this.carryOut({ do: 'deploy', isOlder: false })
    for (const process of this.#live()) if (!process.isFrozen) await this.#run(process)
    await this.#workUntilDrained()
    const frozen = this.#live()
    if (frozen.length === 0) return
    this.#note('who was frozen comes back, and what was stalled is carried out')
    await this.#publish([['ok'], ['throw']])
    await this.#deliver(Infinity)
    for (const process of frozen) await this.#thaw(process)
    for (const process of frozen) await this.#run(process)
    await this.#workUntilDrained()
  }

  async #workUntilDrained(): Promise<void> {
    for (let round = 0; ; round++) {
      await this.#check()
      const { pending, lastDelivered, delays } = await this.#world.look()
      const isWaiting = pending.length > 0 || delays.waiting.length > 0
      const isLeft = isWaiting || this.#model.kept.some(({ id }) => !isDelivered(id, lastDelivered))
      if (!isLeft && round > 0) break
      assert(
        round < MOST_ROUNDS,
        `after ${round} rounds there are still pending or unread entries: ${JSON.stringify(await this.#world.look())}`,
      )
      this.#note(`${LONG_MS} ms pass`)
      await this.#pass(LONG_MS, true)
      if (!this.#setting.promotes) await this.#run(await this.#promote())
      await this.#claimOneLap(round % 2 === 0 ? SHORT_MS : LONG_MS)
      // a listener does not end before its time, and reads once a second
      const { mode, pollLingerMs } = this.#setting
      await this.#run(
        await this.#start('poll', mode === 'listen' && pollLingerMs === undefined ? LISTENING_MS : LONG_MS),
      )
    }
    await this.#pass(LONG_MS, true)
    await this.#claimOneLap(LONG_MS)
    await this.#check()
    this.#model.checkDrained(await this.#world.look())
  }

  async #claimOneLap(remainingMs: number): Promise<void> {
    const before = await this.#world.look()
    const claimer = await this.#start('claim', remainingMs)
    await this.#run(claimer)
    if (claimer.report?.drained) this.#model.checkLap(before, await this.#world.look())
  }

  async #have(command: Exclude<Command, { readonly do: NonActor }>): Promise<void> {
    const process = chosen(
      this.#live().filter(({ isFrozen, isQuiet }) => !isFrozen && !isQuiet),
      command.who,
    )
    if (!process) return
    if (command.do === 'run') return this.#run(process)
    const operation = chosen(process.expected, command.what)
    if (command.do === 'kill') {
      return process.die(operation?.kind === 'call' ? operation : undefined, command.parts)
    }
    if (command.do === 'freeze') {
      this.#note(`${process.name} freezes`)
      process.isFrozen = true
      process.wasFrozen = true
    }
    if (command.do === 'go') return this.#goOn(process, command)
    if (operation?.kind !== 'call') return
    if (command.do === 'send' && !operation.isLate && !operation.isHanging()) await process.send(operation)
    if (command.do === 'fail' && (command.fault !== 'resend' || this.#world.resends || operation.request.resends))
      await process.fail(operation, command.fault)
  }

  async #pause(what: PausedWhat | undefined): Promise<void> {
    this.#note(what === undefined ? 'nothing is paused' : `the ${what} is paused`)
    const { tick } = this.#model
    if (this.#model.paused) this.#model.pauseEndedAt = tick
    this.#model.paused = what === undefined ? undefined : { tick, nowMs: this.#time.nowMs }
    await this.#world.pause(what && { group: WHOLE_GROUP, type: OrderPaid.type }[what])
  }

  /** @param again Of whose event the entries are. Left out: each is of its own. */
  async #publish(entries: readonly (readonly Behaviour[])[], isNewer?: boolean, again?: Published): Promise<void> {
    const published = entries.map((behaviours) => this.#model.publish(behaviours, isNewer, again))
    this.#note(`published: ${published.map(({ orderId, behaviours }) => `${orderId} (${behaviours})`).join(' ')}`)
    await this.#world.add(published.map(({ id, orderId }) => [id, orderId]))
  }

  async #trim(which: number | 'all'): Promise<void> {
    const { kept } = this.#model
    const one = which === 'all' ? undefined : chosen(kept, which)
    const entries: readonly Published[] = which === 'all' ? kept : one ? [one] : []
    this.#note(`trimmed: ${entries.map(({ orderId }) => orderId)}`)
    this.#model.trim(entries)
    await this.#world.trim(entries.map(({ id }) => id))
  }

  async #lose(what: Loss): Promise<void> {
    this.#note(`lost: ${what}`)
    this.#troubles++
    if (what !== 'group') this.#model.trim(this.#model.kept)
    this.#model.endLife(what === 'everything', this.#time.nowMs)
    await this.#world.lose(what)
    // ids are times: none must come again
    await this.#passTo(this.#time.nowMs + 1)
  }

  /** @param runs Whether for a poller or a claimer. */
  #hasRoom(runs: boolean): boolean {
    const isRun = ({ kind }: Process) => kind === 'poll' || kind === 'claim'
    return this.#live().filter((one) => !one.isQuiet && isRun(one) === runs).length < MOST_PROCESSES
  }

  async #delay(events: readonly Delayed[], again: number | undefined): Promise<void> {
    const { eventIds } = this.#model.delays
    const wishes = events.map(({ behaviours, ms, isTime, isNewer }, n) => ({
      eventId: (again !== undefined && chosen(eventIds, again + n)) || eventIdOf(eventIds.length + n),
      when: isTime ? { at: this.#world.nowMs() + ms } : { inMs: ms },
      nextOrder: () => this.#model.order(behaviours, isNewer),
    }))
    const apart = [...new Map(wishes.map((wish) => [wish.eventId, wish])).values()]
    const said = apart.map(({ eventId, when }) => `${eventId} ${JSON.stringify(when)}`).join(', ')
    await this.#startClient('delay', `delays ${said}`, (client) => delayEvents(client, apart))
  }

  async #cancel(which: number): Promise<void> {
    const eventId = chosen(this.#model.delays.eventIds, which)
    if (eventId !== undefined)
      await this.#startClient('cancel', `cancels ${eventId}`, (client) => cancelEvent(client, eventId))
  }

  #promote(): Promise<Process> {
    return this.#startClient('promote', 'promotes', promoteDue)
  }

  /** Starts a process that has no slot, and no time that could be up. */
  async #startClient(
    kind: ProcessKind,
    does: string,
    work: (client: Parameters<typeof delayEvents>[0]) => Promise<void>,
  ): Promise<Process> {
    const process = this.#add(kind, Infinity)
    this.#note(`${process.name} ${does}`)
    const redis = process.observe(this.#world.connect(process))
    const end = (error?: unknown) => {
      process.isOver = true
      this.#finding(() => {
        if (error !== undefined) throw error
        process.assertEnded()
      })
    }
    work({ process, redis, model: this.#model.delays, nowMs: () => this.#time.nowMs }).then(() => end(), end)
    await setImmediate()
    return process
  }

  #add(kind: ProcessKind, deadline: number): Process {
    const name = `${NAMES[kind]} ${++this.#started}`
    const model = this.#model
    const server = {
      changed: async (by: Process, method: Method, isHeard: boolean) => {
        const sight = await this.#world.look()
        this.#finding(() => this.#model.changed(by, sight, method, isHeard, this.#time.nowMs))
        if (method.name === 'finishClaims') this.#model.finished(by, sight, this.#time.nowMs)
      },
      get changes() {
        return model.changes
      },
      tick: () => this.#passTo(this.#time.nowMs + 1),
    }
    const process = new Process(name, this.#time, server, (line) => this.#note(line))
    process.bornIn = this.#model.life
    process.startedAt = this.#model.tick
    process.isOlder = this.#isOlder
    process.kind = kind
    process.deadline = deadline
    this.#processes.push(process)
    return process
  }

  async #start(kind: 'poll' | 'claim', remainingMs: number): Promise<Process> {
    const process = this.#add(kind, this.#time.nowMs + remainingMs)
    const { name } = process
    this.#note(`${name} starts with ${remainingMs} ms`)
    const { maxDeliveries, concurrency, batchSize, maxPollers, maxPending, backoffMs, mode } = this.#setting
    const { usesPolicies, isOnce, promotes } = this.#setting
    const consumer = defineConsumer({
      stream: STREAM,
      group: GROUP,
      routes: [
        on(this.#isOlder ? OlderOrderPaid : OrderPaid, ({ payload }, context) =>
          this.#handle(process, payload.orderId, context),
        ),
      ],
      maxDeliveries,
      concurrency,
      batchSize,
      maxPollers,
      maxPending,
      mode,
      minIdleMs: MIN_IDLE_MS,
      use: [...(isOnce ? [handledOnce] : []), ...(usesPolicies ? [once, shelf, serial] : [])],
      ...(promotes && { delays: observedPromoter(process) }),
      // no longer than the first wait, so that there is no jitter: a plan always plays the same
      backoff: { firstMs: backoffMs, factor: 1, maxMs: backoffMs },
    })
    const redis: Connection = process.observe(this.#world.connect(process))
    const { pollLingerMs, claimLingerMs } = this.#setting
    const options = { redis, clock: process.clock, remainingMs }
    // a consumer that says how long is asked by who was woken, and by nobody else
    const lingering = pollLingerMs === undefined ? {} : { lingerMs: pollLingerMs }
    const run =
      kind === 'poll'
        ? poll(consumer, { ...options, ...lingering })
        : claim(consumer, { ...options, lingerMs: claimLingerMs })
    const troubles = this.#troubles
    const end = (report: Report | undefined, error?: unknown) => {
      process.isOver = true
      process.report = report
      this.#note(`${name} has ended${error === undefined ? '' : ` with ${String(error)}`}`)
      this.#finding(() => {
        process.assertEnded()
        this.#model.checkEnd(process, this.#time.nowMs)
        this.#model.ended(
          process,
          report,
          error,
          process.isFaulted || process.wasFrozen || this.#isJammed || this.#troubles !== troubles,
        )
      })
    }
    run.then(
      (report) => end(report),
      (error: Partial<InvocationFailedError>) => end(error.report, error),
    )
    await setImmediate()
    return process
  }

  #handle(process: Process, orderId: string, context: HandlerContext): Promise<void> {
    if (process.isDead) return new Promise(() => {})
    const { entryId, deliveryCount } = context
    this.#note(`  ${process.name} calls the handler of ${orderId}, delivery ${deliveryCount}`)
    let call: ReturnType<Model['called']> | undefined
    this.#finding(() => {
      call = this.#model.called(process, { orderId, entryId, deliveryCount }, this.#time.nowMs, () =>
        this.#world.driftMs(),
      )
    })
    const { behaviour, end } = call ?? { behaviour: 'hang', end: () => {} }
    const due = (waitMs = this.#setting.backoffMs) => this.#time.nowMs + waitMs
    context.signal.addEventListener('abort', () => end('timed out', due(), this.#time.nowMs))
    return new Promise((resolve, reject) => {
      const { error, result, waitMs } = ENDS[behaviour]
      const isHanging = () => behaviour === 'hang' && !context.signal.aborted
      process.handle(`${orderId} ${behaviour}`, isHanging, () => {
        // an overrunning handler cannot be stopped, so that nothing runs alone beside it: in calm it is harmless
        const isHarmless = this.#setting.isCalm && context.signal.aborted
        end(result, due(waitMs), this.#time.nowMs)
        if (behaviour === 'crash' && !isHarmless) void process.die()
        else if (error) reject(error())
        else resolve()
      })
    })
  }

  /** Lets a process run to its end. Time goes by while all it waits for are handlers that hang. */
  async #run(process: Process): Promise<void> {
    for (let step = 0; !process.isQuiet && !process.isFrozen; step++) {
      assert(step < MOST_STEPS, `${process.name} does not end`)
      const next = process.expected.find((operation) => !operation.isHanging())
      if (next) await this.#go(process, next)
      else await this.#pass(SOON_MS, true)
    }
  }

  async #goOn(process: Process, { what, times }: { readonly what: number; readonly times: number }): Promise<void> {
    for (let n = 0; n < times; n++) {
      const operation = chosen(process.expected, what)
      if (operation) await this.#go(process, operation)
    }
  }

  async #go(process: Process, operation: Operation): Promise<void> {
    if (operation.isHanging()) return
    await process.go(operation)
  }

  /** Has the server carry out what its callers take for lost, the oldest first; on the server's clock, that is later. */
  async #deliver(times: number): Promise<void> {
    for (let n = 0; n < times; n++) {
      const [process] = this.#processes.filter(({ late, isDead }) => late && !isDead)
      if (!process?.late) return
      await this.#pass(STALL_MS, false)
      if (process.late) await process.go(process.late)
    }
  }

  async #pass(ms: number, isPrompt: boolean): Promise<void> {
    const until = this.#time.nowMs + ms
    const before = this.#live().map((process) => ({ process, calls: process.methods.length }))
    if (isPrompt) await this.#answerAll()
    for (let next = this.#nextTimer(until); next; next = this.#nextTimer(until)) {
      if (isPrompt) this.#model.watch(this.#live(), this.#time.nowMs)
      await this.#passTo(next.timer.at)
      await next.process.fire(next.timer)
      if (!isPrompt) continue
      await this.#answerAll()
      this.#finding(() => this.#model.checkPrompt(this.#live(), this.#time.nowMs))
    }
    if (isPrompt) this.#model.watch(this.#live(), this.#time.nowMs)
    await this.#passTo(until)
    if (isPrompt) await this.#answerAll()
    const most = CALLS.atOnce + CALLS.perEntry * this.#model.entries.length + (ms / 1_000) * CALLS.perSecond
    for (const { process, calls } of before)
      assert(process.methods.length - calls <= most, `${process.name} makes over ${most} calls within ${ms} ms`)
  }

  async #passTo(nowMs: number): Promise<void> {
    if (nowMs <= this.#time.nowMs) return
    await this.#world.pass(nowMs - this.#time.nowMs)
    this.#model.seen(await this.#world.look())
    this.#time.nowMs = nowMs
  }

  async #thaw(process: Process | undefined): Promise<void> {
    if (!process) return
    this.#note(`${process.name} thaws`)
    process.isFrozen = false
    await this.#pass(0, false)
  }

  #nextTimer(until: number): { process: Process; timer: Timer } | undefined {
    let first: { process: Process; timer: Timer } | undefined
    for (const process of this.#live()) {
      const timer = process.dueBy(until)
      if (timer && (!first || timer.at < first.timer.at)) first = { process, timer }
    }
    return first
  }

  async #answerAll(): Promise<void> {
    let calls = 0
    for (let isQuiet = false; !isQuiet; ) {
      isQuiet = true
      for (const process of this.#live()) {
        const call = process.isFrozen
          ? undefined
          : process.expected.find((one) => one.kind === 'call' && !one.isHanging())
        if (!call) continue
        assert(++calls <= MOST_CALLS, `${process.name} makes one call after the other while no time goes by`)
        await process.go(call)
        isQuiet = false
      }
    }
  }

  #live(): Process[] {
    this.#processes = this.#processes.filter(({ isLive }) => isLive)
    return this.#processes.toReversed()
  }

  async #check(): Promise<void> {
    if (this.#found) throw this.#found
    this.#model.check(await this.#world.look())
  }

  #finding(look: () => void): void {
    try {
      look()
    } catch (error) {
      this.#found ??= error
    }
  }

  #note(line: string): void {
    const last = this.story.at(-1) ?? ''
    const [, times] = last.startsWith(`${line} `) ? (/^ \((\d+) times\)$/.exec(last.slice(line.length)) ?? []) : []
    if (last === line || times) this.story.splice(-1, 1, `${line} (${Number(times ?? 1) + 1} times)`)
    else this.story.push(line)
  }
}

/** How a handler ends that ends in time. */
const ENDS: Readonly<
  Record<Behaviour, { readonly result: Result; readonly error?: () => Error; readonly waitMs?: number }>
> = {
  ok: { result: 'succeeded' },
  throw: { result: 'failed', error: () => new Error('no') },
  fatal: { result: 'refused', error: () => new NonRetryableError('never') },
  soon: { result: 'failed', error: () => new RetryAfterError(SOON_MS), waitMs: SOON_MS },
  later: { result: 'failed', error: () => new RetryAfterError(LATER_MS), waitMs: LATER_MS },
  crash: { result: 'crashed' },
  hang: { result: 'timed out', error: () => new Error('at last') },
}

const NAMES: Readonly<Record<ProcessKind, string>> = {
  poll: 'poller',
  claim: 'claimer',
  delay: 'publisher',
  cancel: 'canceller',
  promote: 'promoter',
}

type NonActor =
  | 'publish'
  | 'repeat'
  | 'delay'
  | 'cancel'
  | 'promote'
  | 'deliver'
  | 'poll'
  | 'claim'
  | 'trim'
  | 'lose'
  | 'jam'
  | 'pass'
  | 'thaw'
  | 'deploy'
  | 'pause'

/** Every other one is a UUID, which is kept otherwise. */
function eventIdOf(n: number): string {
  return n % 2 === 0 ? `e${n}` : `00000000-0000-4000-8000-${`${n}`.padStart(12, '0')}`
}

function chosen<T>(list: readonly T[], n: number): T | undefined {
  return list[n % list.length]
}
