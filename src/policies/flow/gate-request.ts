import { GATE_ANSWERS } from '../../core/gates.ts'
import type { ScriptQuestion } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import { passGatesScript } from '../../group/redis/scripts/pass-gates.ts'

/** A place that an entry needs. */
export interface PlaceNeed {
  readonly key: string
  readonly max: number
}

/** A turn that an entry needs. */
export interface TurnNeed {
  readonly key: string
  readonly max: number
  readonly perMs: number
  /** How long after its turn it may start, in milliseconds. */
  readonly lateMs: number
  /** How long before the next turn one may come, the same. */
  readonly slackMs: number
}

/** One thing that the script takes note of, or answers. */
export type GateOperation =
  | { readonly op: 'left'; readonly holder: string; readonly heldMs: number; readonly places: readonly PlaceNeed[] }
  | {
      readonly op: 'failed'
      readonly eventType: string
      readonly failuresKey: string
      readonly member: string
      readonly entryId: string
      readonly failures: number
      readonly perMs: number
      readonly probeAfterMs: number
      readonly error: string
      /** Of an entry that has no delivery left. */
      isLast: boolean
    }
  | { readonly op: 'worked'; readonly eventType: string; readonly failuresKey: string; readonly entryId: string }
  | { readonly op: 'void'; readonly eventType: string; readonly entryId: string }
  | {
      readonly op: 'pass'
      readonly entryId: string
      readonly holder: string
      readonly isKnown: boolean
      /** Of its circuit breaker; `''`: none. */
      readonly eventType: string
      readonly places: readonly PlaceNeed[]
      readonly turns: readonly TurnNeed[]
    }

/** Who asks, and how much it may be given. */
export interface GateAsk {
  readonly lease: string
  readonly state: string
  readonly breakers: string
  readonly consumerName: string
  readonly token: string
  readonly nonce: string
  /** Of a lease that is not there, in milliseconds. */
  readonly leaseMs: number
  readonly aheadMs: number
  readonly most: number
}

/** What was answered for an operation; the time is the server's. */
export interface GateAnswer {
  readonly kind: keyof typeof GATE_ANSWERS
  readonly at: number
}

export interface GateReply {
  readonly serverNow: number
  /** `undefined`: the lease is gone. */
  readonly answers: readonly GateAnswer[] | undefined
}

export function gateQuestion(ask: GateAsk, operations: readonly GateOperation[]): ScriptQuestion {
  const keys = [ask.lease, ask.state, ask.breakers]
  const numbers = new Map<string, number>()
  const numberOf = (key: string) => {
    const known = numbers.get(key)
    if (known !== undefined) return known
    keys.push(key)
    numbers.set(key, keys.length)
    return keys.length
  }
  const args = operations.flatMap((operation) => argumentsOf(operation, numberOf))
  const { consumerName, token, nonce, leaseMs, aheadMs, most } = ask
  return {
    script: passGatesScript,
    keys,
    args: [consumerName, token, nonce, Math.ceil(leaseMs), aheadMs, most, ...args],
  }
}

function argumentsOf(one: GateOperation, numberOf: (key: string) => number): (string | number)[] {
  switch (one.op) {
    case 'left':
      return [one.op, one.holder, Math.round(one.heldMs), one.places.length, ...one.places.map((p) => numberOf(p.key))]
    case 'failed': {
      const { op, eventType, failuresKey, member, entryId, failures, perMs, probeAfterMs, error, isLast } = one
      const rules = [failures, perMs, probeAfterMs]
      return [op, eventType, numberOf(failuresKey), member, entryId, ...rules, error, isLast ? 1 : 0]
    }
    case 'worked':
      return [one.op, one.eventType, numberOf(one.failuresKey), one.entryId]
    case 'void':
      return [one.op, one.eventType, one.entryId]
    case 'pass': {
      const places = one.places.flatMap(({ key, max }) => [numberOf(key), max])
      const turns = one.turns.flatMap((t) => [numberOf(t.key), t.max, t.perMs, t.lateMs, t.slackMs])
      const head = [one.op, one.entryId, one.holder, one.isKnown ? 1 : 0, one.eventType]
      return [...head, one.places.length, ...places, one.turns.length, ...turns]
    }
  }
}

const KINDS = Object.fromEntries(Object.entries(GATE_ANSWERS).map(([kind, letter]) => [letter, kind])) as Readonly<
  Record<string, GateAnswer['kind']>
>

/** @throws {Error} The server refused. */
export function readGateReply(reply: PlainReply | undefined): GateReply {
  if (reply instanceof Error) throw reply
  const [serverNow, text] = reply as readonly (string | number)[]
  const answers = text === undefined ? undefined : String(text).split(' ').filter(Boolean).map(readAnswer)
  return { serverNow: Number(serverNow), answers }
}

function readAnswer(word: string): GateAnswer {
  return { kind: KINDS[word[0] as string] ?? 'none', at: Number(word.slice(1)) }
}
