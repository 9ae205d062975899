import type { Redis } from 'ioredis'

/** What all events of the stream say together, read and added up by another way than the system's own. */
export interface AccountsAudit {
  /** Minor units of each account. */
  readonly balances: ReadonlyMap<string, number>
  /** Deposited, less what was withdrawn. */
  readonly brought: number
  /** Sent, and neither received nor returned. */
  readonly onItsWay: number
  /** Accounts that were below zero at some time. */
  readonly overdrawn: readonly string[]
  /** Transfers that did not end as often as they were sent. */
  readonly uneven: readonly string[]
}

/** What an event does to the balance, to what was brought in, and to what is on its way. */
const EFFECTS: Readonly<Record<string, readonly [balance: number, brought: number, onItsWay: number]>> = {
  Deposited: [1, 1, 0],
  Withdrawn: [-1, -1, 0],
  TransferSent: [-1, 0, 1],
  TransferReceived: [1, 0, -1],
  TransferReturned: [1, 0, -1],
}

/** Adds up amounts that are far below 2^53 together. */
export async function auditAccounts(raw: Redis): Promise<AccountsAudit> {
  const balances = new Map<string, number>()
  const overdrawn = new Set<string>()
  const transfers = new Map<string, number>()
  let [brought, onItsWay] = [0, 0]
  for (const [, flat] of await raw.xrange('accounts', '-', '+')) {
    const fields = Object.fromEntries(flat.flatMap((name, n) => (n % 2 ? [] : [[name, flat[n + 1] ?? '']])))
    const { aggregateId = '', eventId = '', payload = '' } = fields
    const [sign, brings, sends] = EFFECTS[fields.eventType ?? ''] ?? [0, 0, 0]
    if (sign === 0) continue
    const { cents } = JSON.parse(payload) as { cents: number }
    const balance = (balances.get(aggregateId) ?? 0) + sign * cents
    balances.set(aggregateId, balance)
    if (balance < 0) overdrawn.add(aggregateId)
    brought += brings * cents
    onItsWay += sends * cents
    // account:<from>:<request>:<step>
    const transfer = eventId.replace(/:\d$/, '')
    if (sends !== 0) transfers.set(transfer, (transfers.get(transfer) ?? 0) + sends)
  }
  const uneven = [...transfers].filter(([, open]) => open !== 0).map(([name]) => name)
  return { balances, brought, onItsWay, overdrawn: [...overdrawn], uneven }
}
