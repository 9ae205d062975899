import { zeroSettleCounts } from '../../src/core/counts.ts'
import { OUTCOME_KINDS } from '../../src/core/outcome.ts'
import type { RedisConnectionError } from '../../src/errors.ts'
import type { AppendResult, Connection } from '../../src/group/connection.ts'
import type { Delaying } from '../../src/group/delays.ts'
import type { HandBack, Settlement, SettleResult, Slot } from '../../src/group/group.ts'
import type { BothSides } from '../support/both-sides.ts'
import type { Caller, Request } from './world.ts'

/** What a method of the port asks for beside settling, and what its caller gets where that was not answered. */
const RESTS = {
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
  settleAndGiveBack: {},
  settleAndTake: { till: 0, started: [], handed: [], lost: 0, left: { conditions: [] }, isMore: false },
  settleAndStart: { started: [], leftAlone: [], noRoom: [] },
} as const

/** What a method asks for that is given nothing beside settlements. */
const LAST: Readonly<Record<string, unknown>> = { settleAndGiveBack: [] }

interface Part {
  readonly settlements: readonly Settlement[]
  carryOut(): Promise<unknown>
}

/** A call of the group port as a request, whose parts are what the commands are that a group on Redis sends for it. */
export function requestOf(group: BothSides, name: string, args: readonly unknown[]): Request<unknown> {
  if (name in RESTS) return settlingRequest(group, name as keyof typeof RESTS, args)
  const method = group[name as keyof BothSides] as unknown as (...args: readonly unknown[]) => Promise<unknown>
  return {
    label: name,
    parts: 1,
    carryOut: async (from, to) => (from < to ? [await method.apply(group, [...args])] : []),
    reply(answers, lost) {
      if (lost && answers.length === 0) throw lost
      return answers[0]
    },
  }
}

function settlingRequest(group: BothSides, name: keyof typeof RESTS, args: readonly unknown[]): Request<unknown> {
  const [slot, settlements, rest] = args as [Slot, readonly Settlement[], unknown]
  const parts: Part[] = (['ack', 'ignore', 'join', 'aside', 'dead'] as const)
    .map((op) => settlements.filter(({ outcome }) => OUTCOME_KINDS[outcome.kind].op === op))
    .filter(({ length }) => length > 0)
    .map((some) => ({ settlements: some, carryOut: () => group.settle(slot, some) }))
  // what is settled by this request is known, whatever became of it
  const ids = settlements.map(({ id }) => id)
  const last = name === 'settle' && rest ? withKnown(rest as HandBack, ids) : (rest ?? LAST[name])
  if (last !== undefined) parts.push({ settlements: [], carryOut: () => group[name](slot, [], last as never) })
  return {
    label: name,
    parts: parts.length,
    // settling finds what is done; reading brings something else
    resends: last === undefined,
    async carryOut(from, to) {
      const answers: unknown[] = []
      for (const part of parts.slice(from, to)) answers.push(await part.carryOut())
      return answers
    },
    reply: (answers, lost) => ({
      ...RESTS[name],
      ...answers.reduce<SettleResult>((sum, answer) => added(sum, answer as SettleResult), NOTHING),
      ...(lost && { unanswered: unansweredOf(parts.slice(answers.length), lost) }),
    }),
  }
}

function withKnown({ known, turn }: HandBack, ids: readonly string[]): HandBack {
  return { known: [...known, ...ids], turn }
}

/** What a connection has of delayed events, each call as a request: what is published together has a part for each event. */
export function delaysOf(
  { append }: Pick<Connection, 'append'>,
  server: { readonly delays: Delaying },
  caller: Caller,
): Required<Pick<Connection, 'append' | 'delaying'>> {
  const step = <Reply>(label: string, carryOut: () => Promise<Reply>) =>
    caller.call(
      {
        label,
        parts: 1,
        carryOut: async (from, to) => (from < to ? [await carryOut()] : []),
        reply(answers, lost) {
          if (lost && answers.length === 0) throw lost
          return answers[0] as Reply
        },
      },
      undefined,
    )
  return {
    append: (stream, entries, trim, _flags, delayed) =>
      caller.call(
        {
          label: 'append',
          parts: entries.length,
          async carryOut(from, to) {
            const delays = delayed?.delays.slice(from, to) ?? []
            const done = await append?.(stream, entries.slice(from, to), trim, [], { delays, groups: [] })
            return done?.answers ?? []
          },
          reply(answers, lost) {
            if (lost && answers.length === 0) throw lost
            const all = entries.map((_fields, n) => answers[n] ?? lost)
            return { answers: all as unknown as AppendResult['answers'], raised: [] }
          },
        },
        undefined,
      ),
    delaying: {
      cancel: (...call) => step('cancel', () => server.delays.cancel(...call)),
      promote: (stream) => step('promote', () => server.delays.promote(stream)),
    },
  }
}

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
  return {
    ...one,
    counts,
    failures: [...sum.failures, ...one.failures],
    refusals: [...sum.refusals, ...one.refusals],
    letters: [...sum.letters, ...one.letters],
    refusedLetters: [...sum.refusedLetters, ...one.refusedLetters],
    leaseLost: sum.leaseLost || one.leaseLost,
    ...(notAcked.length > 0 && { notAcked }),
  }
}

function unansweredOf(parts: readonly Part[], error: RedisConnectionError): SettleResult['unanswered'] {
  return { error, settlements: parts.flatMap(({ settlements }) => settlements) }
}
