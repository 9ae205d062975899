import type { Connection } from 'millrace'
import { createMemoryConnection } from '../../../dist/group/memory/memory-connection.js'
import { MemoryServer } from '../../../dist/group/memory/memory-server.js'
import { Turns } from '../../../dist/group/redis/order/turns.js'
import { zeroSettleCounts } from '../../../src/core/counts.ts'
import { consumerKeys } from '../../../src/core/keys.ts'
import { OUTCOME_KINDS } from '../../../src/core/outcome.ts'
import type { Group, HandBack, Settlement, SettleResult, Slot } from '../../../src/group/group.ts'
import { isDeadLetterSettlement } from '../../../src/group/group.ts'
import type { MemoryConnection } from '../../../src/group/memory/memory-connection.ts'
import type { MemoryServer as Server } from '../../../src/group/memory/memory-server.ts'
import type { OrderListener } from '../../../src/group/ordering.ts'
import type { Process } from './process.ts'
import type { Network, OrderServer, Request, SeenLetter, Sight } from './server.ts'
import { send } from './server.ts'
import { GROUP, STREAM } from './setting.ts'

const KEYS = consumerKeys(STREAM, GROUP)
const SLOTS = ['poller-0', 'poller-1', 'poller-2', 'poller-3', 'claimer-0', 'claimer-1']
/** Methods that ask the server, and what those answer of their own that settle beside it. */
const REQUESTS: Readonly<Record<string, object | undefined>> = {
  takeSlot: undefined,
  giveSlot: undefined,
  settle: {},
  settleAndRead: {
    entries: [],
    pendingLimitReached: false,
    parkedLimitReached: false,
    hasEnded: false,
    groupRecreated: false,
  },
  settleAndClaim: {
    from: '',
    cursor: undefined,
    claimed: [],
    lost: 0,
    groupRecreated: false,
    aside: { conditions: [] },
    isHealing: false,
  },
  settleAndTake: { till: 0, started: [], handed: [], lost: 0, left: { conditions: [] }, isMore: false },
  settleAndStart: { started: [], leftAlone: [], noRoom: [] },
  settleAndGiveBack: {},
  takeSlotAndClaim: undefined,
  finishClaims: undefined,
  heal: undefined,
  ask: undefined,
  renew: undefined,
  measure: undefined,
  peek: undefined,
}

/** Streams in memory. */
export class MemoryOrderServer implements OrderServer {
  readonly #network: Network
  readonly #server: Server
  readonly outside: MemoryConnection

  constructor(network: Network) {
    this.#network = network
    const now = () => network.time.nowMs
    this.#server = new MemoryServer({
      now,
      monotonic: now,
      after: (ms, callback) => network.time.after(ms, callback),
    }) as never
    this.outside = createMemoryConnection(this.#server as never) as never
  }

  async add(id: string, fields: Readonly<Record<string, string>>): Promise<void> {
    const pairs = Object.entries(fields).map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)
    this.#server.stream(STREAM).add(pairs, this.#network.time.nowMs, id)
  }

  get #group() {
    return this.#server.streams.get(STREAM)?.groups.get(GROUP)
  }

  async look(): Promise<Sight> {
    const stream = this.#server.streams.get(STREAM)
    const group = this.#group
    return {
      hasGroup: group !== undefined,
      pending: new Map(
        [...(group?.pending ?? [])].map(([id, { owner, deliveryCount }]) => [id, { owner, count: deliveryCount }]),
      ),
      leases: new Map(SLOTS.map((name) => [name, this.#server.holder(KEYS.slot(name)) ?? ''])),
      ids: new Set(stream?.entries.map(({ id }) => id)),
      unread: stream?.after(group?.lastDeliveredId ?? '0-0', 1_000_000).length ?? 0,
    }
  }

  async letters(): Promise<readonly SeenLetter[]> {
    return this.outside.entries(KEYS.deadLetters).map(({ fields }) => {
      const values = new Map(fields)
      return { entryId: values.get('originalId') ?? '', reason: values.get('reason') ?? '' }
    })
  }

  async left(): Promise<string> {
    const lanes = this.#server.lanes(KEYS.state)
    return JSON.stringify([
      this.outside.pending(STREAM, GROUP),
      [...(this.#server.dueTimes.get(KEYS.due) ?? [])],
      [...(this.#server.waiting.get(KEYS.waiting) ?? [])].map(([condition, ids]) => [condition, [...ids]]),
      [...lanes.firsts],
      [...lanes.members],
    ])
  }

  /** As the operator's script does, which memory has no words for. */
  async redrive(): Promise<readonly string[]> {
    const letters = this.#server.streams.get(KEYS.deadLetters)
    const group = this.#group
    const redriven: string[] = []
    for (const letter of letters?.entries.slice() ?? []) {
      const id = letter.fields.find(([name]) => name.toString() === 'originalId')?.[1].toString() ?? ''
      const isRead =
        group &&
        !this.#server
          .stream(STREAM)
          .after(group.lastDeliveredId, 1_000_000)
          .some((one) => one.id === id)
      if (!isRead || group.pending.has(id) || !this.#server.stream(STREAM).get(id)) continue
      group.hand(id, { owner: 'parked' }, 0, this.#network.time.nowMs)
      this.#server.due(KEYS.due).set(id, Math.floor(this.#network.time.nowMs) * 1_024)
      letters?.remove(letter.id)
      redriven.push(id)
    }
    return redriven
  }

  async drop(): Promise<void> {
    this.outside.trim(KEYS.deadLetters, 0)
  }

  async loseGroup(): Promise<void> {
    this.outside.destroyGroup(STREAM, GROUP)
  }

  async trim(count: number): Promise<void> {
    this.outside.trim(STREAM, Math.max(0, this.outside.entries(STREAM).length - count))
  }

  async delete(id: string): Promise<void> {
    this.#server.stream(STREAM).remove(id)
  }

  async unplaced(ids: readonly string[]): Promise<readonly string[]> {
    const { members } = this.#server.lanes(KEYS.state)
    return ids.filter((id) => !members.has(id))
  }

  connect(process: Process): Connection {
    let listener: OrderListener | undefined
    const silent: Pick<OrderListener, 'stored' | 'unanswered'> = { stored() {}, unanswered() {} }
    const stored = (id: string, isDone: boolean) => listener?.stored(id, isDone)
    // as an ordered group on Redis has them go
    const lossy = <T extends object>(target: T, group: object = target, turns?: Turns): T =>
      new Proxy(target, {
        get: (_target, name) => {
          const member = target[name as keyof T] as unknown
          if (name === 'claims') return lossy(member as object, group, turns)
          if (name === 'inOrder')
            return (...args: unknown[]) => {
              const ordered = (member as (...args: unknown[]) => object).apply(target, args)
              return lossy(ordered, ordered, new Turns())
            }
          if (typeof member !== 'function') return member
          const call = (...args: unknown[]) => (member as (...args: unknown[]) => unknown).apply(target, args)
          if (!(String(name) in REQUESTS)) return call
          return (...args: unknown[]) => {
            const ask = () =>
              send(
                this.#network,
                process,
                requestOf(target as never, group as never, String(name), args, process, stored, () =>
                  listener?.unanswered(),
                ),
              )
            return turns && REQUESTS[String(name)] ? turns.take(ask) : ask()
          }
        },
        set: (_target, name, value) => {
          // what was stored is heard of with the answer
          if (name === 'listener') listener = value as OrderListener
          const heard =
            name === 'listener'
              ? { ...silent, taking: () => listener?.taking(), waiting: (n: number) => listener?.waiting(n) }
              : value
          ;(target as Record<PropertyKey, unknown>)[name] = heard
          return true
        },
      })
    const connection = createMemoryConnection(this.#server as never) as unknown as MemoryConnection
    return {
      ...connection,
      group: (address, remainingMs) => lossy(connection.group(address, remainingMs) as Group & object),
    }
  }
}

type Port = Group & Record<string, (...args: readonly unknown[]) => Promise<unknown>>

/** A call of the port as a request, whose parts are what the calls are that an ordered group on Redis sends for it. */
function requestOf(
  target: Port,
  group: Group,
  name: string,
  args: readonly unknown[],
  process: Process,
  stored: (id: string, isDone: boolean) => void,
  heardNothing: () => void,
): Request<unknown> {
  const rest = REQUESTS[name]
  const heard = <T>(reply: T) => {
    const { slot, token = slot?.token } = (reply ?? {}) as { slot?: { token?: string }; token?: string }
    if (token) process.tokens.add(token)
    return reply
  }
  if (!rest)
    return {
      label: name,
      parts: 1,
      resends: false,
      carryOut: async (from, to) => (from < to ? [heard(await target[name]?.(...args))] : []),
      reply(answers, lost) {
        if (lost && answers.length === 0) throw lost
        return answers[0]
      },
    }
  const [slot, settlements, last] = args as [Slot, readonly Settlement[], unknown]
  const isJoin = ({ outcome }: Settlement) => OUTCOME_KINDS[outcome.kind].op === 'join'
  const others = settlements.filter((one) => !isJoin(one))
  const parts = [
    settlements.filter(isJoin),
    others.filter((one) => !isDeadLetterSettlement(one)),
    others.filter(isDeadLetterSettlement),
  ]
    .filter(({ length }) => length > 0)
    .map((some) => ({ settlements: some, carryOut: (): Promise<unknown> => group.settle(slot, some) }))
  const ids = settlements.map(({ id }) => id)
  const asked =
    name === 'settle' && last ? { ...(last as HandBack), known: [...(last as HandBack).known, ...ids] } : last
  const carryOut = async () => target[name]?.(slot, [], ...(asked === undefined ? [] : [asked]))
  if (asked !== undefined || name !== 'settle')
    parts.push({ settlements: [], carryOut: byNonce(target, name, carryOut) })
  return {
    label: name,
    parts: parts.length,
    // settling finds what is done; reading brings something else, and nobody would know of what was brought before
    resends: last === undefined,
    async carryOut(from, to) {
      const answers: unknown[] = []
      for (const part of parts.slice(from, to)) answers.push(await part.carryOut())
      return answers
    },
    reply(answers, lost) {
      const result: SettleResult = {
        ...rest,
        ...answers.reduce<SettleResult>((sum, answer) => added(sum, answer as SettleResult), NOTHING),
        ...(lost && {
          unanswered: { error: lost, settlements: parts.slice(answers.length).flatMap((part) => part.settlements) },
        }),
      }
      const { notAcked = [], failed = [], unanswered } = result
      const notDone = new Set([
        ...notAcked,
        ...failed.map(({ settlement }) => settlement),
        ...(unanswered?.settlements ?? []),
      ])
      if (lost) heardNothing()
      for (const one of settlements.filter(isJoin)) stored(one.id, !notDone.has(one))
      return result
    },
  }
}

/** A take that was given back does nothing when it is carried out late, and giving back one that was not carried out gives back no other: on Redis it has a nonce. */
function byNonce(target: object, name: string, carryOut: () => Promise<unknown>): () => Promise<unknown> {
  if (name === 'settleAndTake') {
    const take = { isDone: false, isUndone: false }
    LAST_TAKES.set(target, take)
    return async () => {
      take.isDone = true
      return take.isUndone ? { ...NOTHING, ...REQUESTS.settleAndTake } : carryOut()
    }
  }
  if (name !== 'settleAndGiveBack') return carryOut
  const take = LAST_TAKES.get(target)
  return async () => {
    if (!take || take.isDone) return carryOut()
    take.isUndone = true
    return NOTHING
  }
}

const LAST_TAKES = new WeakMap<object, { isDone: boolean; isUndone: boolean }>()

const NOTHING: SettleResult = {
  counts: zeroSettleCounts(),
  failures: [],
  refusals: [],
  letters: [],
  refusedLetters: [],
  leaseLost: false,
}

function added(sum: SettleResult, one: SettleResult): SettleResult {
  const counts = { ...sum.counts }
  for (const name of Object.keys(counts) as (keyof typeof counts)[])
    counts[name] = (counts[name] ?? 0) + (one.counts[name] ?? 0)
  const notAcked = [...(sum.notAcked ?? []), ...(one.notAcked ?? [])]
  const failed = [...(sum.failed ?? []), ...(one.failed ?? [])]
  return {
    ...one,
    counts,
    failures: [...sum.failures, ...one.failures],
    refusals: [...sum.refusals, ...one.refusals],
    letters: [...sum.letters, ...one.letters],
    refusedLetters: [...sum.refusedLetters, ...one.refusedLetters],
    leaseLost: sum.leaseLost || one.leaseLost,
    ...(notAcked.length > 0 && { notAcked }),
    ...(failed.length > 0 && { failed }),
  }
}
