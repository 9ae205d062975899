import type { Clock } from '../../src/clock.ts'
import { consumerKeys } from '../../src/core/keys.ts'
import { resolveSettings } from '../../src/define/consumer-settings.ts'
import type { Connection } from '../../src/group/connection.ts'
import { connectMemory } from '../../src/group/memory/memory-connection.ts'
import { createOperatorSender } from '../../src/group/redis/redis-connection.ts'
import type { GateAnswer, GateOperation } from '../../src/policies/flow/gate-request.ts'
import { gateQuestion, readGateReply } from '../../src/policies/flow/gate-request.ts'

// The script that passes gates has a second text in memory: the same random operations go to both, and the answers must be equal, but for what a real clock goes on by
// itself. Steps of time are far longer than that.
const STEP_MS = 30_500
export const keys = consumerKeys('orders', 'billing')
const address = { stream: 'orders', group: 'billing', keys, settings: resolveSettings('test', {}) }
const TIMES = [
  'line',
  'used',
  'moved',
  'free',
  'since',
  'asked',
  'woke',
  '@',
  'opened ',
  'until ',
  'held ',
  'fails ',
  'worked ',
]

/** A server, or memory, that is asked. */
export interface Side {
  ask(nonce: string, most: number, operations: readonly GateOperation[]): Promise<readonly GateAnswer[]>
  pass(): Promise<void>
  clear(): Promise<void>
  /** Who waits for a turn, as the limit has it. */
  queue(key: string): Promise<string>
  /** Has somebody else write that. */
  set(key: string, field: string, text: string): Promise<void>
}

export function asker(redis: Connection): Side['ask'] {
  return async (nonce, most, operations) => {
    const { state, breakers, slot } = keys
    const ask = { lease: slot('poller-0'), state, breakers, consumerName: 'poller-0', token: '', nonce, most }
    const [reply] = await redis
      .group(address)
      .ask([gateQuestion({ ...ask, leaseMs: 100_000, aheadMs: 40_000 }, operations)])
    const { serverNow, answers = [] } = readGateReply(reply)
    return answers.map(({ kind, at }) => ({ kind, at: at === 0 ? 0 : at - serverNow }))
  }
}

export function memorySide(): Side {
  let now = 1_700_000_000_000
  const clock: Clock = { now: () => now, monotonic: () => now, after: () => () => {} }
  let redis = connectMemory({ clock })
  return {
    ask: (...args) => asker(redis)(...args),
    async pass() {
      now += STEP_MS
    },
    async clear() {
      redis = connectMemory({ clock })
    },
    set: async (key, field, text) => void (await redis.group(address).ask([['hset', key, field, text]])),
    queue: async (key) => String((await redis.group(address).ask([['hget', key, 'queue']]))[0]),
  }
}

export function serverSide(redis: Connection): Side {
  const sender = createOperatorSender('test', redis)
  const send = (...command: (string | number)[]) => sender.call(command as never)
  const texts = (reply: unknown): string[] => [reply].flat(3).map(String)
  return {
    ask: asker(redis),
    clear: async () => void (await send('flushall')),
    set: async (key, field, text) => void (await send('hset', key, field, text)),
    queue: async (key) => String(await send('hget', key, 'queue')),
    /** Everything that is a time becomes so much older. */
    async pass() {
      for (const key of texts(await send('keys', '*'))) {
        const type = String(await send('type', key))
        if (type === 'zset') {
          const members = texts(await send('zrange', key, 0, -1))
          for (const member of members) await send('zincrby', key, -STEP_MS, member)
        }
        const isTimes = type === 'hash' && key !== keys.state
        for (const field of isTimes ? texts(await send('hkeys', key)) : [])
          if (TIMES.some((start) => field.startsWith(start))) await send('hincrbyfloat', key, field, -STEP_MS)
        const queue = isTimes ? await send('hget', key, 'queue') : null
        if (queue) {
          const older = String(queue).replace(
            /@(\d+):?(\d*)/g,
            (_, ...times: string[]) =>
              `@${times
                .slice(0, 2)
                .filter(Boolean)
                .map((at) => Math.max(0, Number(at) - STEP_MS))
                .join(':')}`,
          )
          await send('hset', key, 'queue', older)
        }
        const left = Number(await send('pttl', key))
        if (left >= 0) await send('pexpire', key, Math.max(0, left - STEP_MS))
      }
    },
  }
}
