import type { Connection } from 'millrace'
import type { Archive } from 'millrace/janitor'
import { JanitorFailedError, runJanitor } from 'millrace/janitor'
import { expect } from 'vitest'
import type { Keeping } from '../../src/group/keeping.ts'
import { memoryArchive } from './keeper.ts'

/** A stream `orders` with groups, moved by hand: what a model of a janitor's kills acts on. */
export interface KillWorld {
  readonly keeping: Keeping
  publish(): Promise<string>
  /** Delivers so many entries to a group, which is made at the start of the stream. */
  deliver(group: string, entries: number): Promise<void>
  /** Acknowledges the n-th pending entry. */
  ack(group: string, n: number): Promise<void>
  /** Ids that a group has pending or not read, as far as they were published. */
  undone(group: string, published: readonly string[]): Promise<readonly string[]>
  ids(): Promise<readonly string[]>
  /** The lease of a dead janitor ends. */
  endLease(): Promise<void>
}

/** What the model does next. */
export type KillStep =
  | { readonly do: 'publish'; readonly entries: number }
  | { readonly do: 'deliver'; readonly group: string; readonly entries: number }
  | { readonly do: 'ack'; readonly group: string; readonly n: number }
  /** So many are published, and all groups do all that there is. */
  | { readonly do: 'work'; readonly entries: number }
  /** A janitor runs, and dies at its `diesAt`-th step: before the step takes place, or after it. */
  | { readonly do: 'run'; readonly diesAt: number; readonly isAfter: boolean }
  /** A janitor is frozen at its first range until its lease is over and another one has run. */
  | { readonly do: 'freeze'; readonly isAfter: boolean }

const GROUPS = { billing: { owner: 'a' }, search: { owner: 'b' } }
const KILLED = 'killed'

/** Plays steps, and compares archive and stream after each with what was published. */
export async function playKills(world: KillWorld, steps: readonly KillStep[]): Promise<void> {
  const published: string[] = []
  const stored = memoryArchive()
  const run = (archive: Archive, keeping = world.keeping) =>
    runJanitor(
      { stream: 'orders', groups: GROUPS },
      { redis: { group: () => undefined, keeping } as unknown as Connection, archive, rangeEntries: 3 },
    )
  for (const group of Object.keys(GROUPS)) await world.deliver(group, 0)
  for (const step of steps) {
    if (step.do === 'publish' || step.do === 'work')
      for (let n = 0; n < step.entries; n++) published.push(await world.publish())
    if (step.do === 'work') await doAll(world, published)
    if (step.do === 'deliver') await world.deliver(step.group, step.entries)
    if (step.do === 'ack') await world.ack(step.group, step.n)
    if (step.do === 'run') {
      const death = dying(step.diesAt, step.isAfter)
      await run(death.wrapArchive(stored.archive), death.wrap(world.keeping)).catch(rethrowUnlessKilled)
      await world.endLease()
    }
    if (step.do === 'freeze') {
      let isFirst = true
      const meanwhile = async () => {
        if (!isFirst) return
        isFirst = false
        await world.endLease()
        await run(stored.archive)
      }
      await run(async (range, context) => {
        if (!step.isAfter) await meanwhile()
        await stored.archive(range, context)
        if (step.isAfter) await meanwhile()
      })
    }
    await check(world, published, stored, false)
  }
  await doAll(world, published)
  const report = await run(stored.archive)
  expect(report.archived + report.resumed).toBe(report.trimmed + report.gone + report.held)
  await check(world, published, stored, true)
  expect(await world.ids()).toEqual([])
}

async function doAll(world: KillWorld, published: readonly string[]): Promise<void> {
  for (const group of Object.keys(GROUPS)) {
    await world.deliver(group, published.length)
    for (const _ of await world.undone(group, published)) await world.ack(group, 0)
  }
}

/** Every entry is in the stream or the archive; in the archive once; in both only while its range is in hand; and none is gone that a group has not done. */
async function check(
  world: KillWorld,
  published: readonly string[],
  stored: ReturnType<typeof memoryArchive>,
  isOver: boolean,
): Promise<void> {
  const [archived, ids] = [await stored.ids(), await world.ids()]
  expect(new Set(archived).size).toBe(archived.length)
  expect([...new Set([...archived, ...ids])].sort(compare)).toEqual(published)
  const isBoth = archived.filter((id) => ids.includes(id))
  expect(isBoth.length).toBeLessThanOrEqual(isOver ? 0 : 3)
  for (const group of Object.keys(GROUPS))
    for (const id of await world.undone(group, published)) expect(ids).toContain(id)
}

function compare(a: string, b: string): number {
  const [x, y] = [a, b].map((id) => id.split('-').map(Number)) as [[number, number], [number, number]]
  return x[0] - y[0] || x[1] - y[1]
}

/** A process that dies at its n-th step: nothing that it asks for afterwards takes place. */
function dying(diesAt: number, isAfter: boolean) {
  let steps = 0
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    const now = steps++
    if (now > diesAt || (now === diesAt && !isAfter)) throw new Error(KILLED)
    const answer = await work()
    if (now === diesAt) throw new Error(KILLED)
    return answer
  }
  return {
    wrapArchive:
      (archive: Archive): Archive =>
      (range, context) =>
        step(() => archive(range, context)),
    wrap: (keeping: Keeping): Keeping =>
      new Proxy(keeping, {
        get:
          (target, name: keyof Keeping) =>
          (...given: unknown[]) =>
            step(() => (target[name] as (...all: unknown[]) => Promise<unknown>).apply(target, given)),
      }),
  }
}

function rethrowUnlessKilled(error: unknown): void {
  if (error instanceof JanitorFailedError && error.message.includes(KILLED)) return
  throw error
}
