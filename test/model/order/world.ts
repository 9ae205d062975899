import type { BatchHandler, EventHandler } from 'millrace'
import { claim, effects, NonRetryableError, poll, RetryAfterError } from 'millrace'
import { pause, resume } from 'millrace/operate'
import { Chance } from './chance.ts'
import { ModelTime } from './model-time.ts'
import { Oracle } from './oracle.ts'
import type { Fault } from './process.ts'
import { Process } from './process.ts'
import type { Network, OrderServer } from './server.ts'
import type { Deployment, Kind, Move, Setting } from './setting.ts'
import { DEPLOYED, GROUP, keyIn, MIN_IDLE_MS, makeConsumer, STREAM, settingOf } from './setting.ts'

/** Virtual milliseconds in which things go wrong; what comes then is left in peace. */
const TROUBLE_MS = 60_000
/** Runs after that, one of each action. */
const MOST_ROUNDS = 60

const EXPECTED_FAILURES = /answer|connection|reach|OOM|memory|keeps no order|NOGROUP|could not be (settled|written)/i

/** Plays processes of one ordered group against each other, and watches over the order. */
export class OrderWorld {
  readonly story: string[] = []
  readonly violations: string[] = []
  readonly time: ModelTime
  readonly #chance: Chance
  readonly #setting: Setting
  readonly #server: OrderServer
  readonly #oracle: Oracle
  readonly #processes: Process[] = []
  readonly #runs = new Set<Promise<void>>()
  #deployed: Deployment = DEPLOYED
  #isTrouble = true
  #isFull = false
  #published = 0
  #began = 0

  constructor(makeServer: (network: Network) => OrderServer, seed: number, isTraced = false) {
    this.#chance = new Chance(seed)
    this.#setting = settingOf(this.#chance)
    this.time = new ModelTime(this.#chance)
    const note = (line: string) => this.note(line)
    this.#server = makeServer({
      time: this.time,
      chance: this.#chance,
      fault: (process, label) => this.#fault(process, label),
      note,
      ...(isTraced && {
        traced: async (line: string) => {
          const { pending } = await this.#server.look()
          const rows = [...pending].map(([id, { owner, count }]) => `${id.split('-')[1]}:${owner}x${count}`).join(' ')
          if (rows !== this.#rows || !/renew|ask/.test(line)) note(`${line.slice(0, 1_500)} | ${rows}`)
          this.#rows = rows
        },
      }),
    })
    this.#oracle = new Oracle(this.#server, this.#setting, this.#processes, this.time, (text) => {
      this.note(`VIOLATION ${text}`)
      this.violations.push(text)
    })
  }

  note(line: string): void {
    this.story.push(`${String(this.time.nowMs % 10_000_000).padStart(7)} ${line}`)
  }

  async play(): Promise<void> {
    this.note(JSON.stringify({ ...this.#setting, use: this.#setting.use().map(({ name }) => name) }))
    await this.time.until(this.#play())
  }

  async #play(): Promise<void> {
    const { publishes, moves } = this.#setting
    for (let n = 0; n < publishes.bursts; n++)
      this.#at(n === 0 ? 0 : this.#chance.int(0, 0.8 * TROUBLE_MS), () => this.#publish())
    const from = this.time.nowMs
    for (let at = 10; at < TROUBLE_MS; at += this.#chance.int(500, 9_000))
      this.#at(at, async () => this.#start(this.#chance.of(['poll', 'poll', 'claim'] as const)))
    for (const name of Object.keys(moves) as Move[])
      for (let n = moves[name] ? this.#chance.int(1, 2) : 0; n > 0; n--)
        this.#at(this.#chance.int(100, 0.9 * TROUBLE_MS), () => this.#move(name))
    await this.time.sleep(TROUBLE_MS)
    this.#isTrouble = false
    this.note('peace')
    await this.#peace()
    for (let round = 0; (round < 2 || (await this.#isUndone())) && round < MOST_ROUNDS + this.#published; round++) {
      await this.time.sleep(this.#chance.of([10, 2_000, MIN_IDLE_MS]))
      // keys wait for these
      if (this.#setting.afterDeadLetter === 'wait') await this.#drop(round % 2 === 0)
      await Promise.all([this.#start('poll', 20_000), ...(round % 2 === 0 ? [] : [this.#start('claim', 20_000)])])
      await this.#start('claim', 20_000)
    }
    if (await this.#isUndone()) this.#oracle.violated(`stuck: ${await this.#server.left()}`)
    await Promise.all(this.#runs)
    this.note(`over after ${this.time.nowMs - from} ms`)
    await this.#oracle.over()
  }

  #at(ms: number, what: () => unknown): void {
    this.time.after(
      ms,
      () => void Promise.resolve(what()).catch((error: unknown) => this.#oracle.violated(String(error))),
    )
  }

  async #drop(byHand: boolean): Promise<void> {
    this.#oracle.dropped(await this.#server.letters())
    await this.#server.drop(this.#consumer(), byHand)
  }

  async #isUndone(): Promise<boolean> {
    const { hasGroup, pending, unread } = await this.#server.look()
    return !hasGroup || pending.size > 0 || unread > 0
  }

  /** What troubled it is over, and what was turned off is on again. */
  async #peace(): Promise<void> {
    if (this.#isFull) await this.#fill(false)
    await this.#resume()
    if (!this.#deployed.isOrdered) await this.#turnOn()
    this.#deployed = { ...this.#deployed, knows: 'all' }
  }

  async #publish(): Promise<void> {
    const { keys, kinds, types, publishes, hasUnkeyed } = this.#setting
    for (let n = this.#chance.int(1, publishes.most); n > 0; n--) {
      const number = ++this.#published
      const id = `${this.time.nowMs}-${number}`
      const key = hasUnkeyed && this.#chance.is(0.2) ? undefined : this.#chance.of(keys)
      const kind = this.#chance.of(kinds)
      const type = this.#chance.of(types)
      const version = type === 'Turned' && this.#chance.is(0.5) ? 2 : 1
      const eventId = `e${this.#setting.isOnce && this.#chance.is(0.3) ? this.#chance.int(1, number) : number}`
      // a key that is too long is none
      const aggregateId = kind === 'garbled' ? 'x'.repeat(2_000) : key
      await this.#server.add(id, {
        eventId,
        eventType: type,
        schemaVersion: String(version),
        ...(aggregateId !== undefined && { aggregateId }),
        payload: JSON.stringify({ kind }),
      })
      this.#oracle.published(id, kind === 'garbled' ? undefined : key, kind, type, version, eventId)
      this.note(`publish ${key} ${id} ${kind}${type === 'Turned' ? ` ${type} v${version}` : ''}`)
    }
  }

  async #move(move: Move): Promise<void> {
    if (!this.#isTrouble) return
    switch (move) {
      case 'redrive': {
        const ids = await this.#server.redrive(this.#consumer())
        if (ids.length > 0) this.note(`redrive ${ids}`)
        this.#oracle.redriven(ids)
        break
      }
      case 'drop': {
        const byHand = this.#chance.is(0.4)
        this.note(byHand ? 'letters are deleted' : 'letters are dropped')
        await this.#drop(byHand)
        break
      }
      case 'group':
        this.note('the group is lost')
        await this.#server.loseGroup()
        this.#oracle.groupLost()
        break
      case 'trim':
      case 'delete':
        await this.#remove(move)
        break
      case 'pause': {
        const type = this.#chance.of([undefined, 'Stepped', 'Turned'])
        const hasPaused = await pause(
          { stream: STREAM, group: GROUP },
          {
            redis: this.#server.outside,
            ...(type !== undefined && { type }),
          },
        ).then(
          () => true,
          () => false,
        )
        if (!hasPaused) return
        this.note(`paused: ${type ?? 'all'}`)
        this.#oracle.isCalm = false
        this.#at(this.#chance.int(10, 20_000), () => this.#resume(type))
        break
      }
      case 'versions':
        this.#deployed = { ...this.#deployed, knows: this.#chance.of(['older', 'fewer', 'all']) }
        this.note(`deployed: ${JSON.stringify(this.#deployed)}`)
        break
      case 'order':
        if (!this.#deployed.isOrdered) return
        this.#deployed = { ...this.#deployed, isOrdered: false }
        this.note('order is turned off')
        this.#oracle.isCalm = false
        this.#at(this.#chance.int(10, 15_000), () => this.#turnOn())
        break
      case 'key':
        await this.#ended()
        await this.#oracle.orderTurned()
        this.#deployed = { ...this.#deployed, isCoarse: !this.#deployed.isCoarse }
        this.note(`deployed: ${JSON.stringify(this.#deployed)}`)
        this.#oracle.keysChanged((key) => keyIn(this.#deployed, key))
        break
      case 'full':
        if (this.#isFull || !this.#server.full) return
        await this.#fill(true)
        this.#at(this.#chance.int(10, 8_000), () => this.#fill(false))
        break
      default:
    }
  }

  async #fill(isFull: boolean): Promise<void> {
    if (!this.#server.full || this.#isFull === isFull) return
    this.note(isFull ? 'memory is full' : 'memory is free again')
    this.#isFull = isFull
    this.#oracle.isCalm = false
    for (const process of this.#processes) process.isTroubled = true
    await this.#server.full(isFull)
  }

  async #remove(move: 'trim' | 'delete'): Promise<void> {
    const { ids } = await this.#server.look()
    if (ids.size === 0) return
    if (move === 'trim') await this.#server.trim(this.#chance.int(1, Math.min(5, ids.size)))
    else await this.#server.delete(this.#chance.of([...ids]))
    const left = (await this.#server.look()).ids
    const gone = [...ids].filter((id) => !left.has(id))
    this.note(`${move}: ${gone}`)
    this.#oracle.removed(gone)
  }

  async #resume(type?: string): Promise<void> {
    for (const one of type === undefined ? [undefined, 'Stepped', 'Turned'] : [type])
      await resume(
        { stream: STREAM, group: GROUP },
        {
          redis: this.#server.outside,
          ...(one !== undefined && { type: one }),
        },
      ).then(
        (was) => was && this.note(`resumed: ${one ?? 'all'}`),
        () => undefined,
      )
  }

  /** Whoever knows of no order comes to its end before. */
  async #turnOn(): Promise<void> {
    if (this.#deployed.isOrdered) return
    await this.#ended((process) => !process.isOrdered)
    this.#deployed = { ...this.#deployed, isOrdered: true }
    await this.#oracle.orderTurned()
    this.note('order is turned on')
  }

  /** Nothing begins until those have ended, or their leases have. */
  async #ended(which: (process: Process) => boolean = () => true): Promise<void> {
    this.#isHeld = true
    while (this.#processes.some((process) => which(process) && !process.isDead && !process.isOver))
      await this.time.sleep(500)
    this.#isHeld = false
  }

  #isHeld = false
  #rows = ''

  /** @param remainingMs Default: of chance. */
  #start(action: 'poll' | 'claim', remainingMs = this.#chance.of([1_200, 4_000, 20_000])): Promise<void> {
    if (this.#isHeld || this.#processes.filter(({ isDead, isOver }) => !isDead && !isOver).length > 5)
      return Promise.resolve()
    const run = this.#run(action, remainingMs)
    this.#runs.add(run)
    return run.finally(() => this.#runs.delete(run))
  }

  #consumer(process?: Process) {
    const handle: EventHandler<never> = (event, context) =>
      this.#handle(process as Process, (event as { payload: { kind: Kind } }).payload.kind, context)
    const handleBatch: BatchHandler = (events, context) => this.#handleBatch(process as Process, events, context)
    return makeConsumer(this.#setting, this.#deployed, handle, handleBatch)
  }

  async #run(action: 'poll' | 'claim', remainingMs: number): Promise<void> {
    const { isOrdered } = this.#deployed
    const process = new Process(`${action}${++this.#began}`, action, this.time, this.#oracle.life, isOrdered)
    this.#processes.push(process)
    if (!isOrdered || this.#isFull) process.isTroubled = true
    const consumer = this.#consumer(process)
    const aborting = new AbortController()
    const isAborted = this.#isTrouble && this.#setting.moves.abort && this.#chance.is(0.4)
    if (isAborted) process.clock.after(this.#chance.int(0, 300), () => aborting.abort())
    const options = {
      redis: this.#server.connect(process),
      remainingMs,
      clock: process.clock,
      signal: aborting.signal,
    }
    this.note(`${process.name} begins, ${remainingMs} ms`)
    const running = action === 'poll' ? poll(consumer, options) : claim(consumer, { ...options, lingerMs: 0 })
    let isOver = false
    const ending = running.then(
      () => undefined,
      (error: unknown) => error as Error,
    )
    await Promise.race([
      ending.then((error) => {
        isOver = true
        process.isOver = true
        process.running.clear()
        const text =
          error && [error, ...((error as AggregateError).errors ?? [])].map(({ message }) => message).join('; ')
        this.note(`${process.name} ends${error ? `: ${text}` : ''}`)
        if (text && !EXPECTED_FAILURES.test(text)) this.#oracle.violated(`${process.name} failed: ${text}`)
      }),
      this.#death(process, () => isOver),
    ])
  }

  /** Nobody waits for who is dead. */
  async #death(process: Process, isOver: () => boolean): Promise<void> {
    while (!process.isDead && !isOver()) await this.time.sleep(1_000)
  }

  #fault(process: Process, label: string): Fault | undefined {
    const { faultRate, faults } = this.#setting
    if (!this.#isTrouble || faultRate === 0) return undefined
    const chance = this.#chance
    if (faults.crash && chance.is(faultRate / 6)) this.#dies(process, `asking for ${label}`)
    if (faults.freeze && chance.is(faultRate / 6)) this.#freezes(process, `asking for ${label}`)
    if (!(faults.lost || faults.late) || !chance.is(faultRate)) return undefined
    process.isTroubled = true
    this.#oracle.isCalm = false
    return chance.of<Fault>([
      ...(faults.lost ? (['unanswered', 'unanswered', 'never', 'part', 'twice'] as const) : []),
      ...(faults.late ? (['late'] as const) : []),
    ])
  }

  #dies(process: Process, when: string): void {
    this.note(`${process.name} dies ${when}`)
    this.#oracle.isCalm = false
    process.die()
  }

  #freezes(process: Process, when: string): void {
    const forMs = this.#chance.of([20, 2_000, 8_000, 30_000])
    this.note(`${process.name} freezes ${when} for ${forMs} ms`)
    this.#oracle.isCalm = false
    process.freeze(forMs)
  }

  /** What failed of a key ends it within the call, with what follows it. */
  async #handleBatch(
    process: Process,
    events: Parameters<BatchHandler>[0],
    { maxDeliveries }: Parameters<BatchHandler>[1],
  ): Promise<{ batchItemFailures: { itemIdentifier: string; error: unknown }[] }> {
    if (process.isDead) return new Promise<never>(() => {})
    const told = events.map(
      ({ entryId, deliveryCount }) => `${this.#oracle.keyOf(entryId)} ${entryId} x${deliveryCount}`,
    )
    this.note(`${process.name} starts a batch: ${told.join(', ')}`)
    const { handlerTimeoutMs } = this.#setting.options
    for (const { entryId, deliveryCount } of events) process.runs(entryId, deliveryCount, handlerTimeoutMs as number)
    await this.#oracle.batchStarted(process, events)
    await process.sleep(this.#chance.int(0, 30))
    const isThrown = this.#isTrouble && this.#chance.is(0.1)
    const failed: { itemIdentifier: string; error: unknown }[] = []
    const over = new Set<string>()
    for (const { entryId, deliveryCount, payload } of events) {
      const { kind } = payload as { kind: Kind }
      const key = this.#oracle.keyOf(entryId) ?? entryId
      process.running.delete(entryId)
      // without order all that is not said to have failed is done
      if (process.isOrdered && (over.has(key) || over.has('all'))) {
        this.#oracle.followed(entryId)
        continue
      }
      if (kind === 'killer' && this.#isTrouble && this.#chance.is(0.5)) {
        this.#dies(process, `of ${entryId}`)
        return new Promise<never>(() => {})
      }
      const isSpared = !this.#isTrouble && this.#setting.hasBreaker
      const isFailing =
        kind === 'poison' || kind === 'fatal' || (/flaky|patient|hangs/.test(kind) && deliveryCount === 1)
      const isFailed = isThrown || (isFailing && !isSpared)
      if (isFailed) {
        const error = kind === 'fatal' && !isThrown ? new NonRetryableError('never') : new Error('no')
        failed.push({ itemIdentifier: entryId, error })
        over.add(this.#setting.afterBatchItemFailure === 'checkpoint' ? 'all' : key)
      }
      this.#oracle.ended(entryId, !isFailed)
      const isLetter = isFailed && (deliveryCount >= maxDeliveries || (kind === 'fatal' && !isThrown))
      if (!isFailed || isLetter) process.decided.add(entryId)
    }
    this.note(
      `${process.name} ends a batch${isThrown ? ', thrown' : ''}: ${failed.map((one) => one.itemIdentifier)} failed`,
    )
    if (isThrown) throw new Error('all')
    return { batchItemFailures: failed }
  }

  async #handle(process: Process, kind: Kind, context: Parameters<EventHandler>[1]): Promise<void> {
    const { entryId, deliveryCount, signal } = context
    if (process.isDead) return new Promise(() => {})
    process.runs(entryId, deliveryCount, this.#setting.options.handlerTimeoutMs as number)
    this.note(`${process.name} starts ${this.#oracle.keyOf(entryId)} ${entryId} x${deliveryCount}`)
    await this.#oracle.started(process, entryId, deliveryCount)
    const end = (isDone: boolean, isDecided = isDone) => {
      process.running.delete(entryId)
      if (isDecided) process.decided.add(entryId)
      this.note(`${process.name} ends ${entryId}${isDone ? '' : ', failed'}`)
      this.#oracle.ended(entryId, isDone)
    }
    const fail = (error: Error, isDecided = deliveryCount >= this.#setting.maxDeliveries): never => {
      end(false, isDecided)
      throw error
    }
    await process.sleep(this.#chance.int(0, kind === 'slow' ? 400 : 15))
    // failures that cost no delivery would go on for ever
    if (!this.#isTrouble && this.#setting.hasBreaker) return end(true)
    if (kind === 'hangs' && deliveryCount === 1) {
      await new Promise<void>((resolve) =>
        signal.addEventListener('abort', () => process.when(resolve), { once: true }),
      )
      fail(new Error('too long'))
    }
    if (kind === 'poison' || (kind === 'flaky' && deliveryCount === 1)) fail(new Error('no'))
    if (kind === 'patient' && deliveryCount === 1) fail(new RetryAfterError(3_000))
    if (kind === 'fatal') fail(new NonRetryableError('never'), true)
    if (kind === 'killer' && this.#isTrouble && this.#chance.is(0.5)) {
      this.#dies(process, `of ${entryId}`)
      return new Promise(() => {})
    }
    if (kind === 'refused' && deliveryCount === 1) {
      effects(context).expectField(`{${STREAM}}:never`, 'field', 'there')
      return end(false, false)
    }
    if (kind === 'effects' || kind === 'refused') {
      effects(context).increment(`{${STREAM}}:count:${entryId}`)
      // its outcome is known once it is stored
      return end(true, false)
    }
    end(true)
  }
}
