import { setTimeout as sleep } from 'node:timers/promises'
import type { DeadLetterNotice } from 'millrace'
import { createPublisher } from 'millrace'
import { COMMANDS } from './events.ts'
import { client, redis } from './redis.ts'

/** Why a command changed nothing. That is an outcome like any other: no retry would make a user known. */
export type Refusal = 'unknown-user' | 'user-exists' | 'email-taken' | 'deactivated'

/** What became of a command. `failed`: it is a dead letter. `unknown`: not known yet, or no longer; ask again by its id. */
export type Outcome =
  | { readonly state: 'done'; readonly version: number }
  | { readonly state: 'refused'; readonly reason: Refusal }
  | { readonly state: 'failed'; readonly reason: string }
  | { readonly state: 'unknown' }

/** How long an outcome can be asked for. */
export const OUTCOME_TTL_MS = 86_400_000
const MAX_WAIT_MS = 250
export const outcomeKey = (commandId: string) => `{users}:outcome:${commandId}`

/** Sends commands: `commands.publish(RegisterUser, { userId, email, name })` resolves to the command's id, as `eventId`. */
export const commands = createPublisher({ stream: COMMANDS, redis, producer: 'users' })

/**
 * Waits for the outcome of a command, at most so many milliseconds.
 *
 * @throws {RangeError} `timeoutMs` is no time, or for ever.
 */
export async function awaitOutcome(commandId: string, timeoutMs = 5_000): Promise<Outcome> {
  assertTime(timeoutMs)
  const deadline = performance.now() + timeoutMs
  for (let waitMs = 10; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
    const text = await client.get(outcomeKey(commandId))
    if (text !== null) return JSON.parse(text) as Outcome
    const leftMs = deadline - performance.now()
    if (leftMs <= 0) return { state: 'unknown' }
    await sleep(Math.min(waitMs, leftMs))
  }
}

export function assertTime(timeoutMs: number): void {
  if (!(Number.isFinite(timeoutMs) && timeoutMs >= 0))
    throw new RangeError(`timeoutMs must be a number of milliseconds, 0 or more, got ${timeoutMs}`)
}

/** Writes a dead letter's outcome. Called at most once: what it misses is `unknown` to the sender. A redrive overwrites it. */
export async function reportFailure({ eventId, reason }: DeadLetterNotice): Promise<void> {
  if (eventId === undefined) return
  const failed: Outcome = { state: 'failed', reason }
  await client.set(outcomeKey(eventId), JSON.stringify(failed), 'PX', OUTCOME_TTL_MS, 'NX')
}
