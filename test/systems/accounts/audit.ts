import type { Redis } from 'ioredis'

/** What all events of the stream say together, read and added up by another way than the system's own. */
export interface Audit {
  /** Minor units of each account. */
  readonly balances: ReadonlyMap<string, bigint>
  /** Deposited, less what was withdrawn. */
  readonly brought: bigint
  /** Sent, and neither received nor returned. */
  readonly onItsWay: bigint
  /** Accounts that were below zero at some time. */
  readonly overdrawn: readonly string[]
  /** Transfers by how often they were sent, and how often they ended. */
  readonly uneven: readonly string[]
}

const EFFECTS: Readonly<Record<string, readonly [balance: bigint, brought: bigint, onItsWay: bigint]>> = {
  Deposited: [1n, 1n, 0n],
  Withdrawn: [-1n, -1n, 0n],
  TransferSent: [-1n, 0n, 1n],
  TransferReceived: [1n, 0n, -1n],
  TransferReturned: [1n, 0n, -1n],
}

export async function audit(raw: Redis): Promise<Audit> {
  const balances = new Map<string, bigint>()
  const overdrawn = new Set<string>()
  const transfers = new Map<string, number>()
  let [brought, onItsWay] = [0n, 0n]
  for (const [, flat] of await raw.xrange('accounts', '-', '+')) {
    const fields = Object.fromEntries(flat.flatMap((name, n) => (n % 2 ? [] : [[name, flat[n + 1] ?? '']])))
    const [sign, brings, sends] = EFFECTS[fields.eventType ?? ''] ?? [0n, 0n, 0n]
    if (fields.aggregateType !== 'account') continue
    const account = fields.aggregateId ?? ''
    const cents = BigInt((JSON.parse(fields.payload ?? '') as { cents?: number }).cents ?? 0)
    const balance = (balances.get(account) ?? 0n) + sign * cents
    balances.set(account, balance)
    if (balance < 0n) overdrawn.add(account)
    brought += brings * cents
    onItsWay += sends * cents
    // account:<from>:<request>:<step>
    const [, transfer = ''] = /^account:(.*):[12]$/.exec(fields.eventId ?? '') ?? []
    if (sends !== 0n) transfers.set(transfer, (transfers.get(transfer) ?? 0) + Number(sends))
  }
  const uneven = [...transfers].filter(([, open]) => open !== 0).map(([name]) => name)
  return { balances, brought, onItsWay, overdrawn: [...overdrawn], uneven }
}

/** What they have together. */
export const total = (balances: ReadonlyMap<string, bigint>): bigint =>
  [...balances.values()].reduce((sum, cents) => sum + cents, 0n)
