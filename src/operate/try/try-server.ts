import { setTimeout as sleep } from 'node:timers/promises'
import { RedisConnectionError, RedisReplyError } from '../../errors.ts'
import type { Connection } from '../../group/connection.ts'
import { replyAsText } from '../../group/redis/commands/reply.ts'
import { createOperatorSender } from '../../group/redis/redis-connection.ts'
import { TRY_CHECKS } from './checks.ts'
import { TRY_KEY_PREFIX, TryCheckKeys } from './try-check-keys.ts'

/** What came of one check. */
export interface TryCheckResult {
  readonly name: string
  /** Left out where the server does as it must. */
  readonly problem?: string
}

/** A check that takes longer has failed, and so have those that all of the time is over for. */
const LIMIT_MS = { check: 20_000, all: 120_000 }

/**
 * Tries a server against the contract, one check after the other, each in keys of its own, which it removes. Where that is refused it is the last
 * thing reported.
 *
 * @param signal Ends it after the check that is under way; its keys are removed all the same.
 */
export async function* tryServer(redis: Connection, signal: AbortSignal): AsyncGenerator<TryCheckResult> {
  const endsAt = performance.now() + LIMIT_MS.all
  const left: string[] = []
  for (const check of TRY_CHECKS) {
    if (signal.aborted) break
    const { name } = check
    const area = new TryCheckKeys(redis)
    try {
      await within(Math.max(0, Math.min(LIMIT_MS.check, endsAt - performance.now())), check.run(area))
      yield { name }
    } catch (error) {
      yield { name, problem: (error as Error).message }
    } finally {
      await area.remove().catch(({ message }: Error) => void left.push(message))
    }
  }
  if (left.length === 0) return
  yield { name: 'removes its keys', problem: `${left[0]}; delete those that begin with ${TRY_KEY_PREFIX}` }
}

/** Waits for a check. @throws {Error} It failed, or has no outcome in time. */
async function within(limitMs: number, running: Promise<void>): Promise<void> {
  running.catch(() => {})
  const late = sleep(limitMs, undefined, { ref: false }).then(() => {
    throw new Error(`no outcome within ${Math.floor(limitMs)} ms`)
  })
  await Promise.race([running, late])
}

/** What a server calls itself: `Redis 7.0.15`, `Valkey 9.1.2`; by INFO, and where that is refused by HELLO's silence. */
export async function readServerNameAndVersion(redis: Connection): Promise<string> {
  const [reply = null] = await createOperatorSender('try a server', redis).send([['info', 'server']])
  if (reply instanceof RedisReplyError || reply instanceof RedisConnectionError)
    return 'a server that reports no version'
  const info = Object.fromEntries(
    [...replyAsText(reply).matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]),
  )
  if (info.valkey_version) return `Valkey ${info.valkey_version}`
  const others = ['dragonfly_version', 'kvrocks_version', 'garnet_version'].filter((name) => info[name])
  if (others[0]) return `${others[0].replace('_version', '')} ${info[others[0]]}`
  return info.redis_version ? `Redis ${info.redis_version}` : 'a server that reports no version'
}
