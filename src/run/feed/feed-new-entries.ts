import { CallPool } from '../call-pool.ts'
import type { WorkEnd } from '../consumer-run.ts'
import type { Run } from '../run.ts'
import { BacklogScaler } from './backlog-scaler.ts'
import type { DueBesideReads } from './due-beside-reads.ts'
import { dueBesideReads } from './due-beside-reads.ts'
import { StreamReader } from './stream-reader.ts'

/** How soon the stream is inspected again for events that others wait for; each empty read doubles the wait. After a full read, at once. */
const LOOK_AGAIN_MS = { first: 50, last: 1_000 }

/**
 * Feeds a pool with new entries until none are left, the consumer's mode says stop, or time is up. What is done is settled with the next read,
 * the rest by itself at the end.
 *
 * @throws {RedisConnectionError} No reply came. What ran has ended, and what could be settled is.
 */
export async function feedNewEntries(run: Run): Promise<WorkEnd> {
  const { time, settler, parts } = run
  const pool = new CallPool(time.clock, parts.consumer.settings.concurrency, true, parts.shared)
  const scaler = new BacklogScaler(run)
  const reader = new StreamReader(run, scaler)
  const due = dueBesideReads(run, pool)
  const end = async () => {
    // it runs where there is time after all, else it is released
    pool.add(await reader.admit(await reader.takeAhead()))
    await pool.until(() => pool.isIdle)
    due?.end()
  }
  try {
    await readOn(run, pool, reader, due)
    await end()
    await settler.finish()
  } catch (error) {
    time.stop()
    pool.fill()
    await end().catch(() => pool.until(() => pool.isIdle))
    await settler.finish().catch(() => {})
    throw error
  } finally {
    // what calls others is waited for last: nothing that is settled waits for it
    await scaler.end()
  }
  const mayGoOn = parts.consumer.settings.mode !== 'once'
  // the read that brought nothing gave the slot back
  const againInMs = mayGoOn && run.hasGivenSlot && run.delays?.isDue ? 0 : undefined
  return { isCutOff: mayGoOn && reader.isFull && run.isSound, againInMs }
}

/**
 * Reads on once all that was read is done, or while events wait for others and there is room for more; while handlers are fast, the next read is
 * under way meanwhile.
 */
async function readOn(run: Run, pool: CallPool, reader: StreamReader, due: DueBesideReads | undefined): Promise<void> {
  const { time, parts } = run
  const { batchSize, mode } = parts.consumer.settings
  let pauseMs = LOOK_AGAIN_MS.first
  let handlersMs = Infinity
  let hasRead = false
  while (time.mayStart() && run.alwaysOn.limit() > 0) {
    if (run.delays?.isDue) await run.delays.promote()
    // the first read makes the group
    if (hasRead) await due?.take()
    const wasAhead = reader.isAhead
    if (!wasAhead && reader.isVetoed) {
      if (!(await due?.untilDue(true))) return
      await reader.ask()
      continue
    }
    const jobs = await reader.next()
    hasRead = true
    if (reader.isEmpty && pool.isIdle && !wasAhead) {
      if (run.delays?.isDue && mode !== 'once' && !run.hasGivenSlot) continue
      if (mode === 'drain' && (await due?.untilDue(false))) {
        await due?.take()
        // where that brought nothing, no read has to follow
        if (!pool.isIdle || (await due?.untilDue(false))) continue
      }
      if (mode !== 'drain' || !parts.shared || !(await othersHaveWork(run, pool, pauseMs))) return
      pauseMs = Math.min(pauseMs * 2, LOOK_AGAIN_MS.last)
      continue
    }
    if (parts.shared && jobs.length > 0) parts.shared.isQuiet = false
    const addedAt = time.clock.monotonic()
    const { isFull } = reader
    // sent before handlers start, so that the server is at work meanwhile
    if (isFull && pool.isIdle && reader.mayReadAhead(handlersMs)) reader.readAhead()
    pool.add(await reader.admit(jobs))
    if (isFull && reader.mayReadAhead(handlersMs)) {
      // no more than two batches are under our name, whatever still runs of the one before
      await pool.until(() => pool.open <= batchSize)
      if (reader.mayReadAhead(handlersMs)) reader.readAhead()
    }
    pauseMs = jobs.length > 0 ? LOOK_AGAIN_MS.first : Math.min(pauseMs * 2, due?.lookAgainMs ?? LOOK_AGAIN_MS.last)
    if (reader.isAhead) await pool.until(() => pool.hasRoom)
    else await wanting(pool, run, reader, isFull ? 0 : pauseMs, due)
    handlersMs = time.clock.monotonic() - addedAt
    if (mode === 'once' && pool.isIdle) return
  }
}

/** Waits for that long, while other streams of the set have work: what comes in the meantime does not wait for the end of theirs. @returns Whether they still have. */
async function othersHaveWork({ time, parts }: Run, pool: CallPool, waitMs: number): Promise<boolean> {
  const { shared } = parts
  if (!shared) return false
  let isOver = false
  const end = () => {
    isOver = true
    pool.notify()
  }
  shared.rest()
  const cancels = [time.clock.after(Math.max(1, Math.min(waitMs, time.waitableMs())), end), time.onAbort(end)]
  await pool.until(() => isOver || shared.isAllQuiet)
  for (const cancel of cancels) cancel()
  return !shared.isAllQuiet
}

/** Resolves once all is done; or, where events wait for others, for their route or for policies, after that long, when there is room for more. */
async function wanting(
  pool: CallPool,
  run: Run,
  reader: StreamReader,
  pauseMs: number,
  due: DueBesideReads | undefined,
): Promise<void> {
  if (pool.isIdle) return
  let isTime = pauseMs === 0
  const cancel = run.time.clock.after(pauseMs, () => {
    isTime = true
    pool.notify()
  })
  due?.noteSettled()
  const { batchSize, mode } = run.parts.consumer.settings
  const readsPast = () => (pool.isHolding && pool.open < 2 * batchSize) || (mode !== 'once' && pool.waiting > 0)
  const mayRead = () => isTime && (pool.isGathering || readsPast()) && pool.hasRoom && reader.hasRoom && run.mayWait()
  await pool.until(() => pool.isIdle || mayRead() || (due?.mayTake === true && run.mayWait()))
  cancel()
}
