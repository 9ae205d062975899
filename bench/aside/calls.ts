import type { Redis } from 'ioredis'
import { claimPageScript } from '../../src/group/redis/scripts/claim-page.ts'
import { finishClaimerRunScript } from '../../src/group/redis/scripts/finish-claims.ts'
import { healGroupScript } from '../../src/group/redis/scripts/heal.ts'
import { repair } from '../../src/group/redis/scripts/repair.ts'
import type { LuaScript } from '../../src/group/redis/scripts/script.ts'
import { settleEntriesScript } from '../../src/group/redis/scripts/settle.ts'
import { startClaimedScript } from '../../src/group/redis/scripts/start.ts'
import { takeSetAsideScript } from '../../src/group/redis/scripts/take.ts'
import { type ServerTime, timeOf } from './server-time.ts'
import { CONDITIONS, GROUP, KEYS, leaveOrphans, loseGroup, type State } from './world.ts'

/** What is measured, in the order of the table. */
export const CALLS = ['page', 'start', 'settle', 'take', 'finish', 'heal', 'repair'] as const
export type CallName = (typeof CALLS)[number]
export type Times = Record<CallName, ServerTime[]>

const FENCE = [GROUP, 'claimer-0', 'token'] as const
const LEASE = KEYS.slot('claimer-0')
type Held = readonly [id: string, count: number]

/** Measures a claimer's calls beside what is set aside. @returns The times of each round. */
export async function measureCalls(redis: Redis, state: State, rounds: number): Promise<Times> {
  const times = Object.fromEntries(CALLS.map((name) => [name, []])) as unknown as Times
  const call = async (
    name: CallName,
    script: LuaScript,
    keys: readonly string[],
    args: readonly (string | number)[],
  ) => {
    const time = await timeOf(redis, script, keys, args)
    times[name].push(time)
    return time.reply
  }
  const setAside = (held: readonly Held[], delayMs: number, condition = '') => {
    const each = held.flatMap(([id, count]) => ['aside', id, count, 0, count, delayMs, condition])
    return call('settle', settleEntriesScript, [KEYS.stream, LEASE, KEYS.due, KEYS.waiting], [...FENCE, '', ...each])
  }
  for (let round = 0; round < rounds; round++) {
    const condition = state === 'by condition' ? (CONDITIONS[round % CONDITIONS.length] as string) : ''
    await leaveOrphans(redis)
    const orphans = heldBy(
      (await call(
        'page',
        claimPageScript,
        [KEYS.stream, KEYS.due, KEYS.waiting, KEYS.state, LEASE],
        [GROUP, 'token', 60_000, '0-0', 100, 'claimer-0'],
      )) as Page,
    )
    expectCount('page', orphans.length, 100)
    const startArgs = [...FENCE, '', '', 0, ...orphans.flat()]
    await call('start', startClaimedScript, [KEYS.stream, LEASE, KEYS.due], startArgs)
    await setAside(
      orphans.map(([id, count]) => [id, count + 1]),
      3_600_000,
      condition,
    )
    const takeArgs = [...FENCE, `nonce-${round}`, 100, '', 1_000, '', '', 0, ...(condition === '' ? [] : [condition])]
    const taken = takenBy(
      (await call(
        'take',
        takeSetAsideScript,
        [KEYS.stream, LEASE, KEYS.due, KEYS.waiting, KEYS.state],
        takeArgs,
      )) as Taken,
    )
    expectCount('take', taken.length, state === 'nothing due' ? 0 : 100)
    if (taken.length > 0) await setAside(taken, 0, condition)
    await call(
      'finish',
      finishClaimerRunScript,
      [KEYS.stream, LEASE, KEYS.due, KEYS.waiting, KEYS.state],
      [...FENCE, '0-0', 1],
    )
    await call('repair', repair, [KEYS.stream, KEYS.due, KEYS.waiting, KEYS.state], [GROUP])
  }
  if (state === 'nothing due' || state === 'half due') return times
  await loseGroup(redis)
  const healKeys = [KEYS.stream, LEASE, KEYS.due, KEYS.waiting, KEYS.state]
  for (let status = 2; status === 2; ) [status = 1] = (await call('heal', healGroupScript, healKeys, FENCE)) as number[]
  return times
}

type Page = readonly [
  unknown,
  unknown,
  readonly (readonly [id: string, owner: string, idleMs: number, count: string])[],
]
type Taken = readonly [unknown, readonly (readonly [id: string, count: string])[]]

function heldBy([, , entries]: Page): Held[] {
  return entries.map(([id, , , count]) => [id, Number(count)] as const).toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function takenBy([, entries]: Taken): Held[] {
  return entries.map(([id, count]) => [id, Number(count)] as const).toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** A call that found nothing would be measured as a fast one. */
function expectCount(name: CallName, seen: number, expected: number): void {
  if (seen !== expected) throw new Error(`the ${name} brought ${seen} entries, not ${expected}`)
}
