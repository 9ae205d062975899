import { describe, expect, test } from 'vitest'
import { accountFor } from '../../soak/account.ts'
import type { Evidence } from '../../soak/evidence.ts'
import { pausesOf, processesOf } from '../../soak/evidence.ts'
import type { Life } from '../../soak/fleet.ts'
import type { Fault } from '../../soak/journal.ts'
import type { DatedNote, Note, ReportNumbers } from '../../soak/notes.ts'
import type { Holdings, Letter } from '../../soak/observer.ts'
import type { Delayed } from '../../soak/publish.ts'
import { SETTINGS } from '../../soak/settings.ts'
import { breachLines } from '../../soak/table.ts'

const ENTRY = '1000-0'
const { minIdleMs, maxDeliveries } = SETTINGS

describe('accountFor()', () => {
  test('finds nothing wrong where every entry was handled once', () => {
    const account = accountFor(someEvidence({ workers: [aWorker(called(1, 'succeeded'))] }))

    expect(account).toEqual({
      published: 1,
      delayed: 0,
      cancelled: 0,
      entries: 1,
      handled: 1,
      lost: 0,
      retries: 0,
      duplicates: new Map(),
      deadLetters: new Map(),
      unlucky: 0,
      invocations: 1,
      failedInvocations: 0,
      breaches: [],
    })
  })

  test('counts a retry as no duplicate', () => {
    const first = aWorker(called(1, 'failed'))
    const second = aWorker(called(2, 'succeeded', 5_000))

    expect(accountFor(someEvidence({ workers: [first, second] }))).toMatchObject({
      retries: 1,
      duplicates: new Map(),
      breaches: [],
    })
  })

  test.each<[string, Partial<Scene>]>([
    ['its process died', { workers: [aWorker(called(1, 'succeeded').slice(0, -1), { diedAt: 300 }), again()] }],
    [
      'its process was frozen',
      {
        workers: [aWorker(called(1, 'succeeded', 100, { settlesMs: 5_000 })), again()],
        faults: [aFault('process frozen', 120, 4_000)],
      },
    ],
    [
      'its connection was stalled',
      {
        workers: [aWorker(called(1, 'succeeded', 100, { settlesMs: 5_000 })), again()],
        faults: [aFault('connection stalled', 120, 4_000)],
      },
    ],
    [
      'the server was down',
      {
        workers: [aWorker(called(1, 'succeeded', 100, { settlesMs: 5_000 })), again()],
        faults: [{ ...aFault('server killed', 1_000, 1_900), seat: undefined }],
      },
    ],
    [
      'its connection was cut',
      {
        workers: [aWorker(called(1, 'succeeded', 100, { settlesMs: 5_000 })), again()],
        faults: [aFault('connection severed', 1_000), aFault('cut before evalsha', 1_600)],
      },
    ],
    [
      'its outcome could not be written',
      {
        workers: [aWorker(called(1, 'succeeded', 100, { failure: 'no answer' })), again()],
        faults: [aFault('connection severed', 150)],
      },
    ],
    [
      'its process was frozen',
      {
        // it had read the entry, and came to its handler when another had handled it
        workers: [aWorker(called(1, 'succeeded', 5_000)), aWorker(called(2, 'succeeded', 4_200))],
        faults: [aFault('process frozen', 1_000, 4_990)],
      },
    ],
    ['its handler overran', { workers: [aWorker(called(1, 'succeeded', 100, { takesMs: 1_000 })), again()] }],
  ])('excuses a duplicate: %s', (excuse, scene) => {
    expect(accountFor(someEvidence(scene))).toMatchObject({ duplicates: new Map([[excuse, 1]]), breaches: [] })
  })

  test('counts an event that was written twice', () => {
    const entries = [ENTRY, '1000-1'].map((id) => ({ id, eventId: 'event', kind: 'ok' }))
    const workers = [
      aWorker([...called(1, 'succeeded'), ...called(1, 'succeeded', 400, { entryId: '1000-1', call: 2 })]),
    ]

    expect(accountFor(someEvidence({ workers, holdings: { entries } }))).toMatchObject({
      entries: 2,
      duplicates: new Map([['its event was written twice', 1]]),
      breaches: [],
    })
  })

  test.each<[what: string, Partial<Scene>, counts: object]>([
    ['that came at its time', { delayed: [aDelayed()] }, { published: 1, delayed: 1, cancelled: 0 }],
    ['that was promoted before it was cancelled', { delayed: [aDelayed({ cancelled: 'too-late' })] }, { cancelled: 0 }],
    [
      'that was cancelled',
      { delayed: [aDelayed({ cancelled: 'cancelled' })], holdings: { entries: [] }, workers: [] },
      { published: 1, delayed: 1, cancelled: 1, lost: 0 },
    ],
  ])('finds nothing wrong with a delayed event %s', (_, scene, counts) => {
    const workers = [aWorker(called(1, 'succeeded', 100, { report: { promoted: 1 } }))]

    expect(accountFor(someEvidence({ workers, ...scene }))).toMatchObject({ ...counts, breaches: [] })
  })

  test.each<[rule: string, what: string, Partial<Scene>]>([
    [
      'a delayed event enters the stream once, and never if it was cancelled',
      'one that never came',
      { delayed: [aDelayed()], holdings: { entries: [] } },
    ],
    [
      'a delayed event enters the stream once, and never if it was cancelled',
      'one that came twice',
      {
        delayed: [aDelayed()],
        holdings: { entries: [ENTRY, '1000-1'].map((id) => ({ id, eventId: 'event', kind: 'ok' })) },
      },
    ],
    [
      'a delayed event enters the stream once, and never if it was cancelled',
      'one that came though it was cancelled',
      { delayed: [aDelayed({ cancelled: 'cancelled' })] },
    ],
    [
      'a delayed event never enters the stream before its time',
      'a millisecond',
      { delayed: [aDelayed({ deliverAt: 1_001 })] },
    ],
    [
      'who cancels a delayed event for the first time did, or comes too late',
      'an answer that nobody can have caused',
      { delayed: [aDelayed({ cancelled: 'already-cancelled' })] },
    ],
    [
      'reports promote no more than entered the stream',
      'one too many',
      { delayed: [aDelayed()], workers: [aWorker(called(1, 'succeeded', 100, { report: { promoted: 2 } }))] },
    ],
    ['nothing is left in the end', 'a delayed event', { holdings: { sideKeys: ['{orders}:delayed'] } }],
    ['no entry is lost', 'an entry that nobody handled', { workers: [] }],
    ['no entry is lost', 'an entry that only failed', { workers: [aWorker(called(1, 'failed'))] }],
    [
      'what cannot succeed is dead-lettered',
      'a poison that was handled',
      { kind: 'exits', workers: [aWorker(called(1, 'succeeded'))] },
    ],
    [
      'what was published is in the stream',
      'an entry that is gone',
      { holdings: { entries: [] }, workers: [], letters: [] },
    ],
    [
      'nothing is left in the end',
      'an entry that is still pending',
      { holdings: { pending: [{ id: ENTRY, owner: 'parked', deliveryCount: 1 }] } },
    ],
    [
      'an entry is called again only if its outcome was a failure or could not be known',
      'a delivery that started late for no reason',
      { workers: [aWorker(called(1, 'succeeded', 5_000)), aWorker(called(2, 'succeeded', 4_200))] },
    ],
    ['nothing is left in the end', 'an entry that was never delivered', { holdings: { backlog: 1 } }],
    ['nothing is left in the end', 'a due time', { holdings: { sideKeys: ['{orders}:billing:due'] } }],
    [
      'no entry is dead-lettered twice',
      'two dead letters',
      { kind: 'hopeless', workers: [aWorker(called(1, 'failed'))], letters: [aLetter(), aLetter({ id: '1301-0' })] },
    ],
    [
      'a dead letter is one of the stream’s entries',
      'a dead letter of nothing',
      { letters: [aLetter({ entryId: '9-9' })] },
    ],
    [
      'no entry is called more than maxDeliveries times',
      'a delivery too many',
      { workers: [aWorker(Array.from({ length: maxDeliveries + 1 }, (_, n) => attempt(n + 1)).flat())] },
    ],
    [
      'each delivery of an entry is called once',
      'a delivery that was called twice',
      { workers: [aWorker(called(1, 'failed')), aWorker(called(1, 'succeeded', 5_000))] },
    ],
    [
      'a delivery that no handler saw was lost to a fault',
      'a delivery that was skipped',
      { workers: [aWorker(called(1, 'failed')), aWorker(called(3, 'succeeded', 5_000))] },
    ],
    [
      'an entry is called again only if its outcome was a failure or could not be known',
      'a duplicate after a clean end',
      { workers: [aWorker(called(1, 'succeeded')), again()] },
    ],
    [
      'an entry is called again only if its outcome was a failure or could not be known',
      'a fault at another process’s connection',
      {
        workers: [aWorker(called(1, 'succeeded', 100, { settlesMs: 5_000 })), again()],
        faults: [{ ...aFault('process frozen', 120, 4_000), seat: 7 }],
      },
    ],
    [
      'an entry is called again only if its outcome was a failure or could not be known',
      'a freeze too short for anyone to claim',
      {
        workers: [aWorker(called(1, 'succeeded', 100, { settlesMs: 5_000 })), again()],
        faults: [aFault('process frozen', 120, 400)],
      },
    ],
    [
      'an entry is called again only if its outcome was a failure or could not be known',
      'a freeze after all was settled',
      { workers: [aWorker(called(1, 'succeeded')), again()], faults: [aFault('process frozen', 500, 4_000)] },
    ],
    [
      'an entry is called again only if its outcome was a failure or could not be known',
      'two calls at the same time',
      { workers: [aWorker(called(1, 'succeeded', 100, { takesMs: 300 })), aWorker(called(2, 'succeeded', 200))] },
    ],
    [
      'a failed entry is not called again before its time',
      'a retry after half its back-off',
      { workers: [aWorker(called(1, 'failed', 100, { waitMs: 3_000 })), aWorker(called(2, 'succeeded', 1_600))] },
    ],
    [
      'an entry is not called after its dead letter',
      'a call a second later',
      {
        kind: 'hopeless',
        workers: [aWorker(called(1, 'failed')), aWorker(called(2, 'failed', 2_500))],
        letters: [aLetter()],
      },
    ],
    [
      'a dead letter has its reason',
      'an entry that could not fail',
      { workers: [aWorker(called(1, 'failed'))], letters: [aLetter()] },
    ],
    [
      'a dead letter has its reason',
      'a crash at the last delivery, which ended cleanly',
      {
        kind: 'failing',
        workers: [aWorker(Array.from({ length: maxDeliveries }, (_, n) => attempt(n + 1, 'failed')).flat())],
        letters: [aLetter({ id: '90000-0', reason: 'crashed', deliveryCount: maxDeliveries })],
      },
    ],
    [
      'an entry whose processes died runs alone from its third delivery on',
      'a neighbour of the third delivery',
      {
        workers: [
          aWorker(called(1, 'failed')),
          aWorker(started(2, 5_000), { diedAt: 5_100 }),
          aWorker([
            ...called(3, 'succeeded', 15_000, { takesMs: 200 }),
            ...called(1, 'succeeded', 15_100, { entryId: '1000-1', call: 2 }),
          ]),
        ],
        holdings: { entries: [ENTRY, '1000-1'].map((id) => ({ id, eventId: id, kind: 'ok' })) },
      },
    ],
    [
      'what the codec cannot read reaches no handler',
      'a call for such an entry',
      { kind: 'malformed', workers: [aWorker(called(1, 'succeeded'))] },
    ],
    [
      'consumer names are those of slots, claimers and parked',
      'a name beyond the slots',
      { holdings: { consumerNames: ['parked', 'poller-0', `poller-${SETTINGS.maxPollers}`] } },
    ],
    [
      'nothing starts while it is paused',
      'a call in the middle of a pause',
      { workers: [aWorker(called(1, 'succeeded', 5_000))], faults: [aFault('group paused', 100, 9_000)] },
    ],
    [
      'a report adds up',
      'an entry too many',
      { workers: [aWorker(called(1, 'succeeded', 100, { report: { read: 2 } }))] },
    ],
    [
      'no report speaks of a lost entry or a lost group',
      'an entry counted as lost',
      { workers: [aWorker(called(1, 'succeeded', 100, { report: { lost: 1 } }))] },
    ],
    [
      'an invocation fails only if its server or connection did',
      'a failure out of nothing',
      { workers: [aWorker(called(1, 'succeeded', 100, { failure: 'ERR syntax error' }))] },
    ],
    [
      'an invocation ends in time',
      'a time-out that nothing caused',
      { workers: [aWorker(called(1, 'succeeded')), aWorker([], { end: 'timed out', seat: 1 })] },
    ],
    [
      'a process ends by itself only if a poison ends it',
      'a process that was gone',
      { workers: [aWorker(called(1, 'succeeded'), { end: 'by itself' })] },
    ],
  ])('finds broken that %s: %s', (rule, _, scene) => {
    const account = accountFor(someEvidence(scene))

    expect(account.breaches.map((breach) => breach.rule)).toContain(rule)
  })

  test('counts what was lost, and what only faults were to blame for', () => {
    const workers = Array.from({ length: maxDeliveries }, (_, n) =>
      aWorker(started(n + 1, 100 + n * 10_000), { diedAt: 200 + n * 10_000 }),
    )
    const letters = [aLetter({ id: '90000-0', reason: 'crashed', deliveryCount: maxDeliveries })]

    expect(accountFor(someEvidence({ workers, letters }))).toMatchObject({ lost: 0, unlucky: 1, breaches: [] })
    expect(accountFor(someEvidence({ workers }))).toMatchObject({ lost: 1, unlucky: 0 })
  })
})

test('breachLines() shows at most twenty examples and every count', () => {
  const breaches = Array.from({ length: 30 }, (_, n) => ({ rule: 'every entry is handled', detail: `${n}-0: ok` }))
  const account = accountFor(someEvidence({ workers: [aWorker(called(1, 'succeeded'))] }))

  const lines = breachLines({ ...account, breaches })

  expect(lines[1]).toBe('Broken 30 times: every entry is handled')
  expect(lines.slice(2)).toHaveLength(20)
})

/** One entry and what was done about it. */
interface Scene {
  readonly kind: string
  readonly workers: readonly { life: Life; notes: readonly DatedNote[] }[]
  readonly faults: readonly Fault[]
  readonly letters: readonly Letter[]
  readonly holdings: Partial<Holdings>
  /** If any, the entry came by a promotion. */
  readonly delayed: readonly Delayed[]
}

function someEvidence({
  kind = 'ok',
  workers = [],
  faults = [],
  letters = [],
  holdings = {},
  delayed = [],
}: Partial<Scene>): Evidence {
  const named = workers.map(({ life, notes }, n) => ({
    notes,
    life: { ...life, name: `worker-${n}`, seat: life.seat + n },
  }))
  return {
    serverEpochMs: 1_000,
    pauses: pausesOf(faults),
    published: delayed.length > 0 ? [] : [{ eventId: 'event', kind, entryId: ENTRY }],
    delayed,
    holdings: {
      entries: [{ id: ENTRY, eventId: 'event', kind }],
      letters,
      pending: [],
      backlog: 0,
      sideKeys: [],
      consumerNames: ['claimer-0', 'parked', 'poller-0'],
      ...holdings,
    },
    processes: processesOf({
      lives: named.map(({ life }) => life),
      notes: new Map(named.map(({ life, notes }) => [life.name, notes])),
      faults,
      standstills: [],
      silences: [],
    }),
  }
}

function aWorker(notes: readonly DatedNote[], life: Partial<Life> = {}): Scene['workers'][number] {
  return {
    notes: notes.toSorted((a, b) => a.at - b.at),
    life: {
      name: '',
      seat: 0,
      action: 'poll',
      isProxied: true,
      startedAt: 0,
      diedAt: 1_000_000,
      end: life.diedAt === undefined ? 'stopped' : 'killed',
      ...life,
    },
  }
}

/** A delivery that another process handles, once the entry was idle for long enough. */
const again = () => aWorker(called(2, 'succeeded', 200 + 2 * minIdleMs))

/** The n-th delivery in a row of them, seconds apart. */
const attempt = (n: number, ending: 'succeeded' | 'failed' = 'failed') => called(n, ending, n * 10_000, { call: n })

interface CallFacts {
  readonly entryId?: string
  readonly call?: number
  readonly takesMs?: number
  readonly waitMs?: number
  /** From the handler's end to the invocation's. */
  readonly settlesMs?: number
  readonly failure?: string
  readonly report?: Partial<ReportNumbers>
}

/** A handler call in an invocation of its own, from start to end. */
function called(deliveryCount: number, ending: 'succeeded' | 'failed', at = 100, facts: CallFacts = {}): DatedNote[] {
  const { call = 1, takesMs = 50, waitMs = 0, settlesMs = 10, failure, report = {} } = facts
  const end: Note =
    ending === 'failed' ? { note: 'failed', call, waitMs, timedOut: false } : { note: 'succeeded', call }
  const numbers = { ...noNumbers, ...report } as ReportNumbers
  return [
    ...started(deliveryCount, at, facts),
    { ...end, at: at + takesMs },
    { note: 'ended', invocation: call, at: at + takesMs + settlesMs, report: numbers, ...(failure && { failure }) },
  ]
}

function started(deliveryCount: number, at: number, { entryId = ENTRY, call = 1 }: CallFacts = {}): DatedNote[] {
  return [
    { note: 'invoked', invocation: call, at: at - 10 },
    { note: 'started', call, invocation: call, entryId, deliveryCount, at },
  ]
}

/** On the first process's seat. */
function aFault(kind: Fault['kind'], from: number, to = from): Fault {
  return { kind, seat: 0, from, to }
}

function aLetter(letter: Partial<Letter> = {}): Letter {
  return { id: '1300-0', entryId: ENTRY, reason: 'non-retryable', deliveryCount: 1, ...letter }
}

function aDelayed(delayed: Partial<Delayed> = {}): Delayed {
  return { eventId: 'event', kind: 'ok', deliverAt: 1_000, ...delayed }
}

const noNumbers = Object.fromEntries(
  [
    'read',
    'claimed',
    'acked',
    'ignored',
    'retried',
    'deadLettered',
    'parked',
    'released',
    'superseded',
    'unsettled',
    'lost',
    'promoted',
  ].map((name) => [name, 0]),
)
