import { setTimeout as sleep } from 'node:timers/promises'
import type { EventOf, Publication, PublishOptions } from 'millrace'
import { createPublisher, EventsTrimmedError, readEvents, VersionConflictError } from 'millrace'
import * as z from 'zod/mini'
import { type Account, load, saveSnapshot } from './account.ts'
import * as events from './events.ts'
import { redis } from './redis.ts'

const { name, cents, owner, STREAM } = events
const asked = { accountId: name, requestId: name }

/** What may be asked for. A `requestId` is asked for once per account: sent again, it changes nothing. */
export const Command = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('open'), ...asked, owner }),
  z.strictObject({ type: z.literal('deposit'), ...asked, cents }),
  z.strictObject({ type: z.literal('withdraw'), ...asked, cents }),
  z.strictObject({ type: z.literal('transfer'), ...asked, to: name, cents }),
])
export type Command = z.infer<typeof Command>

const ANOTHER = 'another request has this id'
export type Outcome =
  | 'done'
  | 'no such account'
  | 'open already'
  | 'overdraft'
  | 'too much'
  | 'to itself'
  | 'archived'
  | typeof ANOTHER

/** Nothing that is state may be trimmed; archive.ts does it. */
const ledger = createPublisher({ stream: STREAM, redis, producer: 'accounts', maxLength: Number.POSITIVE_INFINITY })

/** A balance is at most that, so that all of it can be moved in one piece. */
const MOST = BigInt(Number.MAX_SAFE_INTEGER)
/** Events after which an account has a new snapshot, before another event: behind one there is never more than a page to read. */
const SNAPSHOT_EVERY = 50
const MAX_ATTEMPTS = 30

/** An event for an account, or why there is none. */
type Decide = (account: Account) => Outcome | ((options: PublishOptions) => Publication)

/**
 * Carries a command out, once. `archived`: a request of this id was carried out so long ago that only the archive knows what it asked for.
 *
 * @throws {ZodError} It is no command.
 */
export async function execute(asked: Command): Promise<Outcome> {
  const command = Command.parse(asked)
  const { type, accountId, requestId } = command
  const request = { requestId: `${accountId}:${requestId}`, step: 1, command: JSON.stringify(command) }
  return record(accountId, request, (account) => {
    if (type === 'open')
      return account.isOpen ? 'open already' : (at) => [events.AccountOpened, { owner: command.owner }, at]
    const { cents } = command
    if (type === 'deposit') return refusedIn(account, cents) ?? ((at) => [events.Deposited, { cents }, at])
    if (type === 'withdraw') return refusedOut(account, cents) ?? ((at) => [events.Withdrawn, { cents }, at])
    const { to } = command
    if (to === accountId) return 'to itself'
    return refusedOut(account, cents) ?? ((at) => [events.TransferSent, { requestId, from: accountId, to, cents }, at])
  })
}

/** The second step of a transfer: the money arrives, or goes back where it cannot. */
export async function settleTransfer({ payload }: EventOf<typeof events.TransferSent>): Promise<void> {
  const { requestId, from, to, cents } = payload
  const request = { requestId: `${from}:${requestId}`, step: 2, command: 'settle' }
  const receive: Decide = (account) =>
    refusedIn(account, cents) ?? ((at) => [events.TransferReceived, { from, cents }, at])
  if ((await record(to, request, receive)) === 'done') return
  // where it came from it fits in any case
  const returned = await record(from, request, () => (at) => [events.TransferReturned, { to, cents }, at])
  if (returned !== 'done') throw new Error(`Transfer ${request.requestId} was never sent`)
}

function refusedIn({ isOpen, cents: has }: Account, cents: number): Outcome | undefined {
  if (!isOpen) return 'no such account'
  return has + BigInt(cents) > MOST ? 'too much' : undefined
}

function refusedOut({ isOpen, cents: has }: Account, cents: number): Outcome | undefined {
  if (!isOpen) return 'no such account'
  return has < BigInt(cents) ? 'overdraft' : undefined
}

type RequestStep = Readonly<{ requestId: string; step: number; command: string }>

/**
 * Publishes an event of an account together with a step of a request: both or none, so that a step is taken once, for ever. Where others were faster it decides again.
 *
 * @throws {Error} They were faster too often.
 */
async function record(accountId: string, request: RequestStep, decide: Decide): Promise<Outcome> {
  const { requestId, step, command } = request
  const options = (aggregateType: string, aggregateId: string, expectedVersion: number) => {
    return { aggregateType, aggregateId, expectedVersion, eventId: `${aggregateType}:${requestId}:${step}` }
  }
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const account = await load(accountId)
    if (account.version - account.snapshotVersion >= SNAPSHOT_EVERY) await saveSnapshot(account)
    const decided = decide(account)
    // what was carried out before may be refused now
    if (typeof decided === 'string') return (await earlier(request)) ?? decided
    const handled = [events.RequestHandled, { command }, options('request', requestId, step - 1)] as const
    try {
      await ledger.publishMany([handled, decided(options('account', accountId, account.version))])
      return 'done'
    } catch (error) {
      if (!(error instanceof VersionConflictError)) throw error
      if (error.aggregateType === 'request') return (await earlier(request)) ?? ANOTHER
      await sleep(Math.random() * 2 ** Math.min(attempt, 7))
    }
  }
  throw new Error(`Account ${accountId} is busy`)
}

/** What became of a step that was taken before; `undefined` if it was not. */
async function earlier({ requestId, step, command }: RequestStep): Promise<Outcome | undefined> {
  const of = { aggregateType: 'request', aggregateId: requestId, from: step, to: step }
  try {
    for await (const { payload } of readEvents(STREAM, { redis, events: [events.RequestHandled], ...of }))
      return payload.command === command ? 'done' : ANOTHER
  } catch (error) {
    if (!(error instanceof EventsTrimmedError)) throw error
    return step === 1 ? 'archived' : 'done' // of second steps there is one kind
  }
  return undefined
}
