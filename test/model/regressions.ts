import type { Command, Plan, Setting } from './commands.ts'

/** A plan that once failed, on the code as it was or as it was broken on purpose, and why. */
export interface Regression {
  readonly why: string
  readonly plan: Plan
}

const setting: Setting = {
  maxDeliveries: 2,
  concurrency: 1,
  batchSize: 1,
  maxPollers: 1,
  backoffMs: 0,
  mode: 'drain',
  pollLingerMs: undefined,
  claimLingerMs: Infinity,
  maxPending: 10_000,
  isCalm: false,
  usesPolicies: false,
  isOnce: false,
  promotes: false,
}

const LISTENING: Setting = { ...setting, mode: 'listen' }

/** Makes the group and has the server know all scripts, so that a call takes one round trip in every world. */
const START: readonly Command[] = [
  { do: 'publish', entries: [['throw', 'ok']] },
  { do: 'poll', remainingMs: 300_000 },
  { do: 'run', who: 0 },
  { do: 'claim', remainingMs: 300_000 },
  { do: 'run', who: 0 },
]

/** The same for scripts of delays. */
const DELAYS: readonly Command[] = [
  { do: 'delay', events: [{ behaviours: ['ok'], ms: 5_000, isTime: false, isNewer: false }] },
  { do: 'run', who: 0 },
  { do: 'cancel', which: 0 },
  { do: 'run', who: 0 },
  { do: 'promote' },
  { do: 'run', who: 0 },
]

/** Played on every world, each time: paste the counterexample of a failure here. */
export const REGRESSIONS: readonly Regression[] = [
  {
    why: 'a poller whose lease got lost reads under a name that another has by then, whose end gives a started delivery back',
    plan: {
      setting,
      commands: [
        ...START,
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'lose', what: 'everything' },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'run', who: 0 },
        { do: 'publish', entries: [['throw']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'go', who: 1, what: 0, times: 1 },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'a zombie poller dead-letters what a claimer has dead-lettered',
    plan: {
      setting,
      commands: [
        ...START,
        { do: 'publish', entries: [['fatal']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 3 },
        { do: 'freeze', who: 0, what: 0 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'claim', remainingMs: 300_000 },
        { do: 'run', who: 0 },
        { do: 'thaw', who: 0 },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'a zombie claimer settles what the next holder of its name has claimed',
    plan: {
      setting: { ...setting, maxDeliveries: 3 },
      commands: [
        ...START,
        { do: 'publish', entries: [['throw']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'run', who: 0 },
        { do: 'claim', remainingMs: 60_000 },
        { do: 'go', who: 0, what: 0, times: 4 },
        { do: 'freeze', who: 0, what: 0 },
        { do: 'pass', ms: 130_000, isPrompt: true },
        { do: 'claim', remainingMs: 60_000 },
        { do: 'go', who: 0, what: 0, times: 2 },
        { do: 'thaw', who: 0 },
        { do: 'run', who: 1 },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'a claimer gives back to a poller what that has run and may not settle any more',
    plan: {
      setting: { ...setting, maxDeliveries: 3, concurrency: 2, batchSize: 8 },
      commands: [
        ...START,
        { do: 'publish', entries: [['ok'], ['later'], ['ok']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 3 },
        { do: 'freeze', who: 0, what: 0 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'claim', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 5 },
        { do: 'thaw', who: 0 },
        { do: 'go', who: 1, what: 0, times: 3 },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
      ],
    },
  },
  {
    why: 'the answer of a read is lost, and of the requests after it the next',
    plan: {
      setting,
      commands: [
        ...START,
        { do: 'publish', entries: [['ok']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 9, answered: 0, isLate: false } },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'the answer of a start is waited for until the time of the claimer is over',
    plan: {
      setting,
      commands: [
        ...START,
        { do: 'publish', entries: [['ok']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'pass', ms: 130_000, isPrompt: true },
        { do: 'claim', remainingMs: 12_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'send', who: 0, what: 0 },
        { do: 'pass', ms: 130_000, isPrompt: false },
      ],
    },
  },
  {
    why: 'a batch ages behind slow handlers and is not renewed',
    plan: {
      setting: { ...setting, batchSize: 8, isCalm: true },
      commands: [
        ...START,
        { do: 'publish', entries: [['hang'], ['hang'], ['hang'], ['hang']] },
        { do: 'publish', entries: [['hang'], ['hang'], ['hang'], ['ok']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'claim', remainingMs: 300_000 },
        { do: 'pass', ms: 5_000, isPrompt: true },
      ],
    },
  },
  {
    why: 'a listener is paused until its time is up',
    plan: {
      setting: LISTENING,
      commands: [
        { do: 'pause', what: 'group' },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'a listener hands back what a lost read brought, beside the start of a last delivery',
    plan: {
      setting: LISTENING,
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'publish', entries: [['ok'], ['ok'], ['throw']] },
      ],
    },
  },
  {
    why: 'a listener hands back what a lost read brought, beside the settlement of a failure',
    plan: {
      setting: LISTENING,
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 2 },
        { do: 'freeze', who: 0, what: 0 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'claim', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'thaw', who: 0 },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'publish', entries: [['throw']] },
        { do: 'go', who: 0, what: 1, times: 3 },
      ],
    },
  },
  {
    why: 'a listener hands back what a lost read brought, whose settlement is on its way',
    plan: {
      setting: LISTENING,
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'publish', entries: [['ok'], ['ok'], ['throw']] },
        { do: 'pass', ms: 5_000, isPrompt: false },
        { do: 'go', who: 0, what: 0, times: 4 },
        { do: 'send', who: 0, what: 3 },
      ],
    },
  },
  {
    why: 'a read of a listener is carried out while it is paused, two runs later',
    plan: {
      setting: LISTENING,
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: true } },
        { do: 'pause', what: 'group' },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'publish', entries: [['throw']] },
        { do: 'deliver', times: 1 },
        { do: 'pause', what: undefined },
      ],
    },
  },
  {
    why: 'the answer of a read is lost by a listener that goes on for longer than minIdleMs',
    plan: {
      setting: LISTENING,
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'publish', entries: [['throw', 'ok']] },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 9, answered: 0, isLate: false } },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'claim', remainingMs: 12_000 },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'a slot is taken in the millisecond in which its former holder read what it could not settle',
    plan: {
      setting: { ...setting, maxDeliveries: 3 },
      commands: [
        ...START,
        { do: 'publish', entries: [['ok'], ['throw']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 3 },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'run', who: 0 },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'a listener hands back what a lost read brought, and that is carried out again, after the next read',
    plan: {
      setting: { ...LISTENING, maxDeliveries: 3 },
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'pass', ms: 51, isPrompt: false },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: true } },
        { do: 'publish', entries: [['ok'], ['ok']] },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'deliver', times: 1 },
      ],
    },
  },
  {
    why: 'the answer of a take is lost by a listener that could take more before it gives that back',
    plan: {
      setting: { ...LISTENING, maxDeliveries: 3, backoffMs: 90_000 },
      commands: [
        {
          do: 'publish',
          entries: [
            ['hang', 'ok'],
            ['hang', 'ok'],
          ],
        },
        { do: 'poll', remainingMs: 60_000 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'pass', ms: 130_000, isPrompt: true },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'fail', who: 0, what: 1, fault: { carriedOut: 9, answered: 0, isLate: false } },
        { do: 'pass', ms: 5_000, isPrompt: true },
      ],
    },
  },
  {
    why: 'something is due that another process set aside while a listener reads nothing, because of maxPending',
    plan: {
      setting: { ...LISTENING, maxDeliveries: 3, batchSize: 8, maxPending: 1, backoffMs: 10_000, isCalm: true },
      commands: [
        { do: 'publish', entries: [['crash', 'hang', 'ok'], ['ok'], ['ok']] },
        { do: 'poll', remainingMs: 12_000 },
        { do: 'go', who: 0, what: 0, times: 4 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'claim', remainingMs: 12_000 },
        { do: 'pass', ms: 25_000, isPrompt: true },
        { do: 'pass', ms: 5_000, isPrompt: true },
      ],
    },
  },
  {
    why: 'a listener could read while it runs a last delivery, which must have nothing beside it',
    plan: {
      setting: { ...LISTENING, concurrency: 3, isCalm: true },
      commands: [
        { do: 'publish', entries: [['hang']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'pass', ms: 11_000, isPrompt: true },
        { do: 'publish', entries: [['ok']] },
        { do: 'pass', ms: 5_000, isPrompt: true },
      ],
    },
  },
  {
    why: 'a listener that waits for a slot is frozen until after its time, and the read of its former holder is carried out then',
    plan: {
      setting: LISTENING,
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 2 },
        { do: 'pass', ms: 5_000, isPrompt: false },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'freeze', who: 0, what: 0 },
        { do: 'pass', ms: 400_000, isPrompt: true },
        { do: 'thaw', who: 0 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'publish', entries: [['ok']] },
        { do: 'deliver', times: 1 },
      ],
    },
  },
  {
    why: 'the answers of two calls that cancel are lost, of which the second was carried out',
    plan: {
      setting,
      commands: [
        ...DELAYS,
        { do: 'delay', events: [{ behaviours: ['ok'], ms: 5_000, isTime: false, isNewer: false }] },
        { do: 'run', who: 0 },
        { do: 'cancel', which: 0 },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: false } },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 9, answered: 0, isLate: false } },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 9, answered: 0, isLate: false } },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'an event is due as the read is answered that brought nothing, and so gave the slot back',
    plan: {
      setting: { ...setting, promotes: true, isCalm: true },
      commands: [
        ...START,
        { do: 'delay', events: [{ behaviours: ['soon'], ms: 5_000, isTime: false, isNewer: false }] },
        { do: 'run', who: 0 },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'send', who: 0, what: 0 },
        { do: 'pass', ms: 5_000, isPrompt: false },
        { do: 'run', who: 0 },
      ],
    },
  },
  {
    why: 'an event is due while a listener runs a last delivery, which must have nothing beside it',
    plan: {
      setting: { ...LISTENING, promotes: true, isCalm: true },
      commands: [
        { do: 'publish', entries: [['hang']] },
        { do: 'delay', events: [{ behaviours: ['ok'], ms: 11_001, isTime: false, isNewer: false }] },
        { do: 'run', who: 0 },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'pass', ms: 25_000, isPrompt: true },
      ],
    },
  },
  {
    why: 'an event is promoted twice by calls that are lost, and cancelled when it is too late',
    plan: {
      setting,
      commands: [
        ...DELAYS,
        { do: 'delay', events: [{ behaviours: ['ok'], ms: 5_000, isTime: true, isNewer: true }] },
        { do: 'run', who: 0 },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'promote' },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 9, answered: 0, isLate: false } },
        { do: 'promote' },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 0, answered: 0, isLate: true } },
        { do: 'cancel', which: 0 },
        { do: 'run', who: 0 },
        { do: 'deliver', times: 2 },
      ],
    },
  },
  {
    why: 'a listener has an entry in hand from one life of the group, and reads it again in the next',
    plan: {
      setting: { ...LISTENING, concurrency: 3, batchSize: 8, usesPolicies: true },
      commands: [
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'publish', entries: [['throw', 'ok'], ['ok']] },
        { do: 'pass', ms: 5_000, isPrompt: true },
        { do: 'claim', remainingMs: 300_000 },
        { do: 'run', who: 0 },
        { do: 'publish', entries: [['ok']] },
        { do: 'go', who: 0, what: 0, times: 2 },
        { do: 'lose', what: 'group' },
        { do: 'claim', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'freeze', who: 0, what: 0 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 1 },
        { do: 'thaw', who: 0 },
      ],
    },
  },
  {
    why: 'a duplicate waits for an entry whose process is overtaken before it acknowledges',
    plan: {
      setting: { ...setting, maxDeliveries: 3, batchSize: 8, isOnce: true },
      commands: [
        ...START,
        { do: 'publish', entries: [['ok', 'throw', 'ok']] },
        { do: 'repeat', which: 0, entries: [['ok']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 3 },
        { do: 'freeze', who: 0, what: 0 },
        { do: 'pass', ms: 61_000, isPrompt: true },
        { do: 'claim', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 6 },
        { do: 'thaw', who: 0 },
        { do: 'go', who: 1, what: 0, times: 3 },
      ],
    },
  },
  {
    why: 'a settlement with a marker is sent again, and an entry of the same event comes by then',
    plan: {
      setting: { ...setting, mode: 'once', maxPollers: 2, isOnce: true },
      commands: [
        ...START,
        { do: 'publish', entries: [['ok']] },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'go', who: 0, what: 0, times: 4 },
        { do: 'repeat', which: 0, entries: [['throw'], ['ok']] },
        { do: 'fail', who: 0, what: 0, fault: 'resend' },
        { do: 'fail', who: 0, what: 0, fault: { carriedOut: 9, answered: 0, isLate: false } },
        { do: 'poll', remainingMs: 300_000 },
        { do: 'run', who: 0 },
      ],
    },
  },
]
