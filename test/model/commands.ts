import fc from 'fast-check'
import type { PollMode } from '../../src/index.ts'
import type { Fault } from './process.ts'
import type { Behaviour, Loss } from './world.ts'

/**
 * One step of an interleaving. `who` chooses among the processes that are awake (to thaw: among the frozen), the youngest first, `what`
 * among the calls and handlers it waits for, `which` among the entries; all of them count from 0, and begin again where there are fewer.
 */
export type Command =
  /** @param isNewer Of the newer version, which older processes park. */
  | { readonly do: 'publish'; readonly entries: readonly (readonly Behaviour[])[]; readonly isNewer?: boolean }
  /** Publishes entries of an event that was published before: the one of an entry, the youngest first. */
  | { readonly do: 'repeat'; readonly which: number; readonly entries: readonly (readonly Behaviour[])[] }
  /**
   * Starts a process that publishes delayed events, in one request, and again while no answer comes.
   *
   * @param again Events whose ids were published before, from that one on.
   */
  | { readonly do: 'delay'; readonly events: readonly Delayed[]; readonly again?: number | undefined }
  /** Starts a process that cancels one of all delayed events, the youngest first, and asks again while no answer comes. */
  | { readonly do: 'cancel'; readonly which: number }
  /** Starts a process that promotes until nothing is due. */
  | { readonly do: 'promote' }
  /** Starts a process. */
  | { readonly do: 'poll' | 'claim'; readonly remainingMs: number }
  /** Has operations come to their end, one after the other: handlers, or calls with their replies. */
  | { readonly do: 'go'; readonly who: number; readonly what: number; readonly times: number }
  /** Has a call carried out, and holds its reply back. */
  | { readonly do: 'send'; readonly who: number; readonly what: number }
  | { readonly do: 'fail'; readonly who: number; readonly what: number; readonly fault: Fault }
  /** The server carries out calls reported as lost, the oldest first. */
  | { readonly do: 'deliver'; readonly times: number }
  /** Lets a process run to its end. */
  | { readonly do: 'run'; readonly who: number }
  /** A call on its way has that many of its commands carried out. */
  | { readonly do: 'kill'; readonly who: number; readonly what: number; readonly parts: number }
  | { readonly do: 'freeze'; readonly who: number; readonly what: number }
  | { readonly do: 'thaw'; readonly who: number }
  /** Time goes by. Where the network is prompt, calls are answered meanwhile, but for those of frozen processes. */
  | { readonly do: 'pass'; readonly ms: number; readonly isPrompt: boolean }
  | { readonly do: 'trim'; readonly which: number | 'all' }
  | { readonly do: 'lose'; readonly what: Loss }
  /** From now on the server refuses dead letters, or takes them again. */
  | { readonly do: 'jam'; readonly isJammed: boolean }
  /** From now on processes start with the older version, or with the newer. */
  | { readonly do: 'deploy'; readonly isOlder: boolean }
  | { readonly do: 'pause'; readonly what: PausedWhat | undefined }

/** An event that is published for later: so many milliseconds after the server has it, or after now by the server's clock. */
export interface Delayed {
  readonly behaviours: readonly Behaviour[]
  readonly ms: number
  readonly isTime: boolean
  readonly isNewer: boolean
}

/** What is paused: the group, or its only event type. */
export type PausedWhat = 'group' | 'type'

/** What all processes of an interleaving have in common. */
export interface Setting {
  readonly maxDeliveries: number
  readonly concurrency: number
  readonly batchSize: number
  readonly maxPollers: number
  readonly backoffMs: number
  readonly mode: PollMode
  /** For how long a poller that was woken goes on; `undefined`: none is woken. */
  readonly pollLingerMs: number | undefined
  /** How long a claimer waits for what is due next. */
  readonly claimLingerMs: number
  readonly maxPending: number
  /** The network is prompt, and processes die only by their handlers. */
  readonly isCalm: boolean
  /** Policies are at work: a marker joins each acknowledgement, what has one is ignored, and one entry waits for another. */
  readonly usesPolicies: boolean
  /** Entries of one event are handled once. */
  readonly isOnce: boolean
  /** Pollers and claimers promote. */
  readonly promotes: boolean
}

export interface Plan {
  readonly setting: Setting
  readonly commands: readonly Command[]
}

const who = fc.nat(3)
const what = fc.nat(3)
const behaviour = weighted<Behaviour>({ ok: 6, throw: 5, fatal: 1, soon: 1, later: 2, crash: 2, hang: 1 })
const behaviours = fc.array(behaviour, { minLength: 1, maxLength: 3 })
const publish = record({
  do: fc.constant('publish' as const),
  entries: fc.array(behaviours, { minLength: 1, maxLength: 4, size: 'max' }),
  isNewer: fc.constantFrom(false, false, true),
})
const repeat = record({
  do: fc.constant('repeat' as const),
  which: fc.nat(4),
  entries: fc.array(behaviours, { minLength: 1, maxLength: 2, size: 'max' }),
})
/** Some are due a millisecond after others, or after time that passes at once. */
const delayMs = fc.constantFrom(0, 1, 2, 20, 4_999, 5_000, 5_001, 11_001, 25_000, 61_000, 130_000, 400_000)
const delayed = record({ behaviours, ms: delayMs, isTime: fc.boolean(), isNewer: fc.constantFrom(false, false, true) })
const delay = record({
  do: fc.constant('delay' as const),
  events: fc.array(delayed, { minLength: 1, maxLength: 3, size: 'max' }),
  again: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.nat(9) }),
})
const cancel = record({ do: fc.constant('cancel' as const), which: fc.nat(9) })
const promote = record({ do: fc.constant('promote' as const) })
const deploy = record({ do: fc.constant('deploy' as const), isOlder: fc.boolean() })
const pause = record({
  do: fc.constant('pause' as const),
  what: fc.constantFrom<PausedWhat | undefined>('group', 'type', undefined, undefined),
})
const start = record({
  do: fc.constantFrom('poll' as const, 'claim' as const),
  // a lease may or may not outlast minIdleMs; there is time for several handlers one after the other, or for one
  remainingMs: fc.constantFrom(300_000, 300_000, 60_000, 12_000),
})
const go = record({ do: fc.constant('go' as const), who, what, times: fc.integer({ min: 1, max: 5 }) })
const run = record({ do: fc.constant('run' as const), who })
const send = record({ do: fc.constant('send' as const), who, what })
const ms = fc.constantFrom(5_000, 11_000, 25_000, 61_000, 61_000, 130_000)
const pass = (prompt: fc.Arbitrary<boolean>) => record({ do: fc.constant('pass' as const), ms, isPrompt: prompt })

/** Nothing of a call is carried out, all of it, or a part. */
const parts = fc.constantFrom(0, 9, 9, 1, 2, 3)
const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 1, arbitrary: fc.constant('resend' as const) },
  { weight: 6, arbitrary: record({ carriedOut: parts, answered: fc.constantFrom(0, 9, 1), isLate: fc.boolean() }) },
)
const fail = record({ do: fc.constant('fail' as const), who, what, fault })

const disturbance = fc.oneof(
  {
    weight: 4,
    arbitrary: fail,
  },
  { weight: 3, arbitrary: record({ do: fc.constant('kill' as const), who, what, parts: fc.nat(3) }) },
  { weight: 4, arbitrary: record({ do: fc.constant('freeze' as const), who, what }) },
  { weight: 3, arbitrary: record({ do: fc.constant('thaw' as const), who }) },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant('trim' as const),
      which: fc.oneof({ weight: 6, arbitrary: fc.nat(9) }, { weight: 1, arbitrary: fc.constant('all' as const) }),
    }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant('jam' as const), isJammed: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: record({
      do: fc.constant('lose' as const),
      what: fc.constantFrom<Loss>('group', 'group', 'stream', 'everything'),
    }),
  },
)

const calmCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: publish },
  { weight: 2, arbitrary: repeat },
  { weight: 5, arbitrary: start },
  { weight: 12, arbitrary: go },
  { weight: 3, arbitrary: run },
  { weight: 1, arbitrary: send },
  { weight: 4, arbitrary: pass(fc.constant(true)) },
  { weight: 1, arbitrary: deploy },
  { weight: 1, arbitrary: pause },
  { weight: 2, arbitrary: delay },
  { weight: 1, arbitrary: cancel },
  { weight: 1, arbitrary: promote },
)
/** A process freezes until another has taken over what it held, and then comes back. */
const zombie: fc.Arbitrary<readonly Command[]> = record({
  kind: fc.constantFrom('poll' as const, 'claim' as const),
  before: fc.integer({ min: 1, max: 7 }),
  ms: fc.constantFrom(61_000, 130_000, 400_000),
  meanwhile: fc.constantFrom('poll' as const, 'claim' as const, 'claim' as const),
  between: fc.integer({ min: 1, max: 7 }),
  after: fc.nat(3),
  repeated: fc.option(repeat, { nil: undefined }),
}).map(({ kind, before, ms, meanwhile, between, after, repeated }) => [
  ...(repeated
    ? ([
        { do: 'publish', entries: [['ok', 'throw']] },
        { ...repeated, which: 0 },
      ] as const)
    : []),
  { do: kind, remainingMs: 300_000 },
  { do: 'go', who: 0, what: 0, times: before },
  { do: 'freeze', who: 0, what: 0 },
  { do: 'pass', ms, isPrompt: true },
  { do: meanwhile, remainingMs: 300_000 },
  { do: 'go', who: 0, what: 0, times: between },
  { do: 'thaw', who: 0 },
  { do: 'go', who: 1, what: 0, times: after },
])

/** A process loses calls one after the other, others go on, and then the server carries out what it had stalled. */
const lossy: fc.Arbitrary<readonly Command[]> = record({
  kind: fc.constantFrom('poll' as const, 'poll' as const, 'claim' as const),
  before: fc.integer({ min: 1, max: 5 }),
  faults: fc.array(fault, { minLength: 1, maxLength: 4, size: 'max' }),
  isEnded: fc.boolean(),
  ms: fc.constantFrom(0, 0, 5_000, 61_000),
  meanwhile: fc.array(fc.constantFrom('publish' as const, 'poll' as const, 'claim' as const), { maxLength: 3 }),
  between: fc.integer({ min: 1, max: 6 }),
  times: fc.nat(2),
}).map(({ kind, before, faults, isEnded, ms, meanwhile, between, times }) => [
  { do: kind, remainingMs: 300_000 },
  { do: 'go', who: 0, what: 0, times: before },
  ...faults.map((one) => ({ do: 'fail', who: 0, what: 0, fault: one }) as const),
  ...(isEnded ? [{ do: 'run', who: 0 } as const] : []),
  ...(ms > 0 ? [{ do: 'pass', ms, isPrompt: true } as const] : []),
  ...meanwhile.flatMap((what): readonly Command[] =>
    what === 'publish'
      ? [{ do: 'publish', entries: [['ok'], ['ok'], ['throw']] }]
      : [
          { do: what, remainingMs: 300_000 },
          { do: 'go', who: 0, what: 0, times: between },
        ],
  ),
  { do: 'deliver', times },
])

/** A read brings what was published, its answer is lost, and its process goes on for longer than minIdleMs, beside a claimer. */
const deaf: fc.Arbitrary<readonly Command[]> = record({
  before: fc.integer({ min: 1, max: 4 }),
  faults: fc.array(fault, { minLength: 1, maxLength: 2, size: 'max' }),
  ms: fc.constantFrom(5_000, 61_000, 61_000, 130_000),
}).map(({ before, faults, ms }) => [
  { do: 'poll', remainingMs: 300_000 },
  { do: 'go', who: 0, what: 0, times: before },
  { do: 'pass', ms: 5_000, isPrompt: true },
  { do: 'publish', entries: [['throw', 'ok'], ['ok']] },
  ...faults.map((one) => ({ do: 'fail', who: 0, what: 0, fault: one }) as const),
  { do: 'pass', ms, isPrompt: true },
  { do: 'claim', remainingMs: 300_000 },
  { do: 'run', who: 0 },
])

const faults = fc.array(fault, { maxLength: 3, size: 'max' })
/** Who started last loses calls and goes on, or is killed or frozen. */
const hit = (faults: readonly Fault[], end: 'run' | 'kill' | 'freeze'): readonly Command[] => [
  ...faults.map((one) => ({ do: 'fail', who: 0, what: 0, fault: one }) as const),
  end === 'run' ? { do: 'run', who: 0 } : { do: end, who: 0, what: 0, parts: 9 },
]
const end = fc.constantFrom('run' as const, 'run' as const, 'run' as const, 'kill' as const, 'freeze' as const)
const hits = record({ faults, end }).map(({ faults, end }) => hit(faults, end))

/** An event is delayed, perhaps cancelled, and promoted by several, who lose calls; then the server carries out what it had stalled. */
const delays: fc.Arbitrary<readonly Command[]> = record({
  delay,
  published: hits,
  cancelled: fc.array(hits, { maxLength: 2 }),
  isFirst: fc.boolean(),
  ms: fc.constantFrom(1, 4_999, 5_000, 61_000, 130_000),
  promoted: fc.array(fc.tuple(fc.constantFrom('promote' as const, 'poll' as const, 'claim' as const), hits), {
    maxLength: 3,
    size: 'max',
  }),
  times: fc.nat(2),
}).map(({ delay, published, cancelled, isFirst, ms, promoted, times }) => {
  const cancels = cancelled.flatMap((hits): readonly Command[] => [{ do: 'cancel', which: 0 }, ...hits])
  return [
    delay,
    ...published,
    ...(isFirst ? cancels : []),
    { do: 'pass', ms, isPrompt: true } as const,
    ...promoted.flatMap(([what, hits]): readonly Command[] => [
      what === 'promote' ? { do: what } : { do: what, remainingMs: 300_000 },
      ...hits,
    ]),
    ...(isFirst ? [] : cancels),
    { do: 'deliver', times } as const,
  ]
})

/** Entries of one event are read by several, who lose calls and send settlements again, or go on after they were taken over. */
const repeats: fc.Arbitrary<readonly Command[]> = record({
  behaviours,
  repeat,
  isApart: fc.boolean(),
  runs: fc.array(
    record({
      kind: fc.constantFrom('poll' as const, 'poll' as const, 'claim' as const),
      before: fc.integer({ min: 1, max: 6 }),
      hits,
      ms: fc.constantFrom(0, 0, 1_000, 5_000, 61_000, 130_000),
    }),
    { minLength: 1, maxLength: 3, size: 'max' },
  ),
  times: fc.nat(2),
}).map(({ behaviours, repeat, isApart, runs, times }) => {
  const again: Command = { ...repeat, which: 0 }
  return [
    { do: 'publish', entries: [behaviours] } as const,
    ...(isApart ? [] : [again]),
    ...runs.flatMap(({ kind, before, hits, ms }, n): readonly Command[] => [
      { do: kind, remainingMs: 300_000 },
      { do: 'go', who: 0, what: 0, times: before },
      ...(isApart && n === 0 ? [again] : []),
      ...hits,
      ...(ms > 0 ? [{ do: 'pass', ms, isPrompt: true } as const] : []),
    ]),
    { do: 'thaw', who: 0 } as const,
    { do: 'deliver', times } as const,
  ]
})

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 25, arbitrary: calmCommand },
  { weight: 1, arbitrary: pass(fc.constant(false)) },
  { weight: 7, arbitrary: disturbance },
)

const scene: fc.Arbitrary<readonly Command[]> = fc.oneof(
  { weight: 20, arbitrary: command.map((one) => [one]) },
  { weight: 1, arbitrary: zombie },
  { weight: 2, arbitrary: lossy },
  { weight: 1, arbitrary: deaf },
  { weight: 2, arbitrary: delays },
  { weight: 2, arbitrary: repeats },
)

/** Interleavings with no disturbance but handlers that take their process with them, or with all there can be. */
export function plans(isCalm: boolean): fc.Arbitrary<Plan> {
  return record({
    setting: record({
      maxDeliveries: fc.constantFrom(2, 3, 1),
      concurrency: fc.constantFrom(1, 2, 3),
      batchSize: fc.constantFrom(1, 2, 8),
      maxPollers: fc.constantFrom(1, 2),
      backoffMs: fc.constantFrom(0, 10_000, 90_000),
      mode: fc.constantFrom<PollMode>('drain', 'once', 'listen', 'listen'),
      pollLingerMs: fc.constantFrom(undefined, undefined, undefined, 20_000, 0),
      claimLingerMs: fc.constantFrom(Infinity, Infinity, 20_000, 0),
      maxPending: fc.constantFrom(10_000, 10_000, 2),
      isCalm: fc.constant(isCalm),
      usesPolicies: fc.constantFrom(false, false, true),
      isOnce: fc.constantFrom(false, false, true),
      promotes: fc.boolean(),
    }),
    commands: isCalm
      ? fc.array(calmCommand, { maxLength: 60, size: 'max' })
      : fc.array(scene, { maxLength: 80, size: 'max' }).map((scenes) => scenes.flat()),
  })
}

/** A plain object, which prints as it is written. */
function record<Value>(members: { readonly [Name in keyof Value]: fc.Arbitrary<Value[Name]> }): fc.Arbitrary<Value> {
  return fc.record(members, { noNullPrototype: true }) as fc.Arbitrary<Value>
}

function weighted<Value extends string>(weights: Readonly<Record<Value, number>>): fc.Arbitrary<Value> {
  return fc.oneof(
    ...(Object.entries(weights) as [Value, number][]).map(([value, weight]) => ({
      weight,
      arbitrary: fc.constant(value),
    })),
  )
}
