import { keepingKeys } from '../../core/keys.ts'
import type { GroupRegistration } from '../../core/registration.ts'
import { parseRegistration } from '../../core/registration.ts'
import { replyAsRecord, replyAsText } from '../../group/redis/commands/reply.ts'
import type { AnswersByName, QuestionsByName, ServerQuestion } from '../ask.ts'
import type { JanitorInspection, KeepingInspection } from './inspection.ts'
import type { UnknownFactsCollector } from './unknowns.ts'

/** What lies beside a stream for whoever watches over it: both are texts by their names. */
export interface KeepingTexts {
  readonly registry: Readonly<Record<string, string>>
  readonly janitorNotes: Readonly<Record<string, string>>
}

/** Questions about a stream's registry and its janitors; none where its name gives no keys. */
export function keepingQuestions(stream: string): QuestionsByName<KeepingTexts> | undefined {
  try {
    const { groups, janitor } = keepingKeys(stream)
    return { registry: hashQuestion(groups), janitorNotes: hashQuestion(janitor) }
  } catch {
    return undefined
  }
}

/** The key of a stream's floors. */
export function floorsKey(stream: string): string {
  return keepingKeys(stream).floors
}

/** What the answers say; `undefined` where nobody registered a group and no janitor ran, or where the server does not say. */
export function keepingOf(
  told: Partial<AnswersByName<KeepingTexts>>,
  groups: readonly string[] | undefined,
  at: number,
  unknowns: UnknownFactsCollector,
): KeepingInspection | undefined {
  const registry = unknowns.read('keeping', told.registry)
  const notes = unknowns.read('keeping', told.janitorNotes)
  if (registry === undefined || notes === undefined) return undefined
  const registered = readRegistry(registry)
  const names = Object.keys(registered)
  const janitor = readNotes(notes, at)
  if (names.length === 0 && janitor === undefined) return undefined
  return {
    registered,
    unregistered: groups?.filter((group) => !names.includes(group)) ?? [],
    lost: groups === undefined ? [] : names.filter((group) => !groups.includes(group)),
    ...(janitor && { janitor }),
  }
}

/** What cannot be read as a registration is left out. */
export function readRegistry(registry: KeepingTexts['registry']): Readonly<Record<string, GroupRegistration>> {
  const read = Object.entries(registry).map(([group, text]) => [group, parseRegistration(text)] as const)
  return Object.fromEntries(read.filter(([, registration]) => registration !== undefined)) as Record<
    string,
    GroupRegistration
  >
}

/** `undefined` where no janitor has looked. */
export function readNotes(notes: KeepingTexts['janitorNotes'], at: number): JanitorInspection | undefined {
  const { ranAt, archivedEntries, trimmed, archived } = notes
  if (ranAt === undefined) return undefined
  const sinceMs = (since: number) => Math.max(0, at - since)
  return {
    sinceRunMs: sinceMs(Number(ranAt)),
    archived: Number(archivedEntries ?? 0),
    trimmed: Number(trimmed ?? 0),
    ...(archived !== undefined && { archivedToId: archived }),
    trimmedAhead: notesNamed(notes, 'ahead:', (count) => count),
    blockers: notesNamed(notes, 'since:', sinceMs),
    floors: notesNamed(notes, 'sinceFloor:', sinceMs),
    ...(notes.sinceNoGroups !== undefined && { withoutGroupsMs: sinceMs(Number(notes.sinceNoGroups)) }),
  }
}

/** Numbers of the notes that begin with a word, by what follows it. */
function notesNamed(notes: KeepingTexts['janitorNotes'], word: string, read: (value: number) => number) {
  const named = Object.entries(notes).filter(([name]) => name.startsWith(word))
  return Object.fromEntries(named.map(([name, value]) => [name.slice(word.length), read(Number(value))]))
}

function hashQuestion(key: string): ServerQuestion<Readonly<Record<string, string>>> {
  return {
    call: ['hgetall', key],
    right: '+hgetall',
    read: (reply) =>
      Object.fromEntries(Object.entries(replyAsRecord(reply)).map(([name, text]) => [name, replyAsText(text)])),
  }
}
