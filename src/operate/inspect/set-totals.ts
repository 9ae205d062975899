import { quotedValue } from '../../errors.ts'
import type { SetGroupInspection, SetInspection, StreamInspection } from './inspection.ts'

/** A set by its name and the keys of its streams, the highest priority first. A `StreamSet` is one. */
export interface NamedSet {
  readonly name: string
  readonly streams: readonly string[]
}

/** The sets of consumers. */
export function setsOf(
  consumers: readonly { readonly stream: string; readonly set?: { readonly name: string } }[],
): readonly NamedSet[] {
  const members = consumers.filter(({ set }) => set !== undefined)
  return [...Map.groupBy(members, ({ set }) => set?.name as string)].map(([name, those]) => ({
    name,
    streams: [...new Set(those.map(({ stream }) => stream))],
  }))
}

/** Each set as one: its groups, with the numbers of its streams added up. */
export function inspectSets(sets: readonly NamedSet[], streams: readonly StreamInspection[]): readonly SetInspection[] {
  return sets.map(({ name, streams: keys }) => {
    const members = keys.flatMap((key) => streams.find(({ stream }) => stream === key) ?? [])
    const groups = [...new Set(members.flatMap((member) => member.groups.map(({ group }) => group)))]
    const length = sumOf(members.map((member) => member.length ?? (member.state === 'missing' ? 0 : undefined)))
    return { name, streams: keys, ...known({ length }), groups: groups.map((group) => groupOf(group, members)) }
  })
}

/** What one of the streams does not say is left out, and `unknown` names the stream. */
function groupOf(name: string, members: readonly StreamInspection[]): SetGroupInspection {
  const found = members.flatMap(({ stream, groups }) => {
    const group = groups.find((one) => one.group === name)
    return group ? [{ stream, group }] : []
  })
  const unknown: Record<string, string> = {}
  const sum = (member: string, of: (group: (typeof found)[number]['group']) => number | undefined) => {
    const values = found.map(({ group }) => of(group))
    const at = values.indexOf(undefined)
    if (at >= 0) unknown[member] = `stream ${quotedValue(found[at]?.stream)} does not say`
    return sumOf(values)
  }
  const ages = found.flatMap(({ group }) => group.oldestPending?.ageMs ?? [])
  const successes = found.flatMap(({ group }) => group.sinceLastSuccessMs ?? [])
  const numbers = {
    lag: sum('lag', ({ lag }) => lag),
    inHand: sum('inHand', ({ inHand }) => inHand),
    parked: sum('parked', ({ parked }) => parked),
    deadLetters: sum('deadLetters', ({ deadLetters }) => deadLetters?.length),
    oldestPendingMs: ages.length > 0 ? Math.max(...ages) : undefined,
    sinceLastSuccessMs: successes.length > 0 ? Math.min(...successes) : undefined,
  }
  const pending = found.reduce((total, { group }) => total + group.pending, 0)
  return { group: name, streams: found.length, pending, ...known(numbers), unknown }
}

function sumOf(values: readonly (number | undefined)[]): number | undefined {
  return values.includes(undefined) ? undefined : values.reduce<number>((sum, value) => sum + (value ?? 0), 0)
}

function known<T extends object>(members: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never
}
