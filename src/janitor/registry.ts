import { consumerKeys } from '../core/keys.ts'
import type { GroupRegistration } from '../core/registration.ts'
import { encodeRegistration, parseRegistration } from '../core/registration.ts'
import type { Keeping } from '../group/keeping.ts'
import { ageFloor } from '../group/keeping.ts'

/** The texts of a registry by group. */
export type RegistryTexts = ReadonlyMap<string, string>

/** The dead letters of a registered group. */
interface RegisteredLetters {
  readonly letters: string
  /** `undefined`: they stay. */
  readonly retentionMs: number | undefined
}

export function lettersOf(stream: string, group: string, text: string): RegisteredLetters {
  const { deadLetters } = parseRegistration(text) ?? {}
  return {
    letters: deadLetters?.stream ?? consumerKeys(stream, group).deadLetters,
    retentionMs: deadLetters?.retentionMs,
  }
}

/** Registers what is not registered as it is given. @returns The registry as it is then. */
export async function registerChanged(
  keeping: Keeping,
  stream: string,
  groups: Readonly<Record<string, GroupRegistration>>,
): Promise<RegistryTexts> {
  const known = await keeping.registered(stream)
  const texts = Object.entries(groups).map(([group, given]) => [group, encodeRegistration(given)] as const)
  const changed = texts.filter(([group, text]) => known.get(group) !== text)
  if (changed.length > 0) await writeRegistry(keeping, stream, known, new Map(changed))
  return new Map([...known, ...changed])
}

/**
 * Registers groups, or, where a text is `undefined`, takes them off. Each leaves a floor beside its dead letters, for janitors of other streams whose groups share them: first, so that letters
 * stay for too long, and not for too short a time, where this ends in between.
 */
export async function writeRegistry(
  keeping: Keeping,
  stream: string,
  known: RegistryTexts,
  texts: ReadonlyMap<string, string | undefined>,
): Promise<void> {
  const changes = [...texts].map(([group, text]) => {
    const was = known.get(group)
    return {
      name: JSON.stringify([stream, group]),
      before: was === undefined ? undefined : lettersOf(stream, group, was).letters,
      after: text === undefined ? undefined : lettersOf(stream, group, text),
    }
  })
  for (const { name, after } of changes)
    if (after) await keeping.keepFrom(after.letters, { [name]: ageFloor(after.retentionMs) })
  await keeping.register(stream, Object.fromEntries(texts))
  for (const { name, before, after } of changes)
    if (before !== undefined && before !== after?.letters) await keeping.keepFrom(before, { [name]: undefined })
}
