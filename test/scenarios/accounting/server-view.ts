import type { Redis } from 'ioredis'
import type { Consumer } from 'millrace'
import type { Scenario } from '../../support/scenario.ts'
import type { Letter } from './books.ts'

export const STREAM = 'orders'
export const GROUPS = ['billing', 'search'] as const
export type GroupName = (typeof GROUPS)[number]

/** What the server says, as a second client sees it that knows nothing of the package. */
export class ServerView {
  readonly #scenario: Scenario
  readonly #consumers: Readonly<Record<GroupName, Consumer>>

  constructor(scenario: Scenario, consumers: Readonly<Record<GroupName, Consumer>>) {
    this.#scenario = scenario
    this.#consumers = consumers
  }

  get #raw(): Redis {
    return this.#scenario.raw
  }

  async isSettled(group: GroupName): Promise<boolean> {
    const unread = await this.unread(group)
    return unread.length === 0 && (await this.pending(group)).length === 0
  }

  async pending(group: GroupName): Promise<string[]> {
    const rows = (await this.#raw.xpending(STREAM, group, '-', '+', 10_000)) as [string][]
    return rows.map(([id]) => id)
  }

  /** What XINFO GROUPS has of a group. */
  async info(group: GroupName): Promise<Readonly<Record<string, string | number | null>>> {
    const groups = (await this.#raw.xinfo('GROUPS', STREAM)) as (string | number | null)[][]
    const all = groups.map((info) => Object.fromEntries(chunk(info)) as Record<string, string | number | null>)
    return all.find(({ name }) => name === group) ?? {}
  }

  async unread(group: GroupName): Promise<string[]> {
    const last = (await this.info(group))['last-delivered-id'] ?? '0-0'
    return this.idsBetween(`(${last}`, '+')
  }

  async idsBetween(from: string, to: string): Promise<string[]> {
    return (await this.#raw.xrange(STREAM, from, to)).map(([id]) => id)
  }

  /** Event ids by entry id, of entries that have one. */
  async eventIds(from: string, to: string): Promise<[entryId: string, eventId: string][]> {
    return (await this.#raw.xrange(STREAM, from, to)).flatMap(([id, flat]) => {
      const [, eventId] = chunk(flat).find(([name]) => name === 'eventId') ?? []
      return eventId === undefined ? [] : [[id, eventId] as [string, string]]
    })
  }

  /** Dead letters as the server has them. */
  async letters(group: GroupName): Promise<Letter[]> {
    const { deadLetters } = this.#consumers[group].keys
    return (await this.#scenario.deadLetters(deadLetters)).map(({ id, head }) => ({
      id,
      entryId: String(head.originalId),
      reason: String(head.reason),
      eventType: head.eventType || undefined,
    }))
  }
}

/** Names and values in turn as pairs. */
function chunk<T>(flat: readonly T[]): [T, T][] {
  return Array.from({ length: flat.length / 2 }, (_, n) => [flat[2 * n] as T, flat[2 * n + 1] as T])
}
