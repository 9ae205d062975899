import { assertInteger, assertKnownKeys, assertObject, assertText } from './options.ts'

/** What a group of a stream says of itself: who answers for it, what it promises, and what it needs. */
export interface GroupRegistration {
  /** Who answers for the group, as a team or an address. */
  readonly owner: string
  /** What the group promises; what exceeds it is a finding of the doctor. Default: nothing. */
  readonly objective?: GroupObjective
  /** Milliseconds for which entries stay in the stream though the group has done them, as for a replay; 0 or more. Default 0. */
  readonly retentionMs?: number
  /** Whose the group's dead letters are, and how long they are kept. */
  readonly deadLetters?: DeadLetterRegistration
}

/** How far behind a group may be. */
export interface GroupObjective {
  /** Entries that wait for their first delivery, 0 or more. Default: any number. */
  readonly maxLag?: number
  /** Milliseconds since the oldest entry that the group has not done was published, 1 or more. Default: any age. */
  readonly maxAgeMs?: number
}

/** Dead letters of a group. */
export interface DeadLetterRegistration {
  /** Who looks after them. Default: the group's owner. */
  readonly owner?: string
  /** Milliseconds after which a janitor archives and trims them, 1 or more. Default: never. */
  readonly retentionMs?: number
  /** Their stream, if the consumer names one of its own. Default `{<stream>}:<group>:dlq`. */
  readonly stream?: string
}

/** Longer words than that are no name. */
const MAX_OWNER = 200

/** @throws {TypeError | RangeError} Not a registration; the message names the member and the rule. */
export function assertRegistration(action: string, name: string, given: unknown): asserts given is GroupRegistration {
  assertObject(action, name, given)
  const registration = given as GroupRegistration
  assertKnownKeys(`${action}: ${name}`, registration, ['owner', 'objective', 'retentionMs', 'deadLetters'])
  const { owner, objective, retentionMs, deadLetters } = registration
  assertOwner(action, `${name}.owner`, owner)
  if (retentionMs !== undefined) assertInteger(action, `${name}.retentionMs`, retentionMs, 0)
  if (objective !== undefined) assertObjective(action, `${name}.objective`, objective)
  if (deadLetters !== undefined) assertDeadLetters(action, `${name}.deadLetters`, deadLetters)
}

function assertObjective(action: string, name: string, objective: GroupObjective): void {
  assertObject(action, name, objective)
  assertKnownKeys(`${action}: ${name}`, objective, ['maxLag', 'maxAgeMs'])
  const { maxLag, maxAgeMs } = objective
  if (maxLag !== undefined) assertInteger(action, `${name}.maxLag`, maxLag, 0)
  if (maxAgeMs !== undefined) assertInteger(action, `${name}.maxAgeMs`, maxAgeMs, 1)
}

function assertDeadLetters(action: string, name: string, deadLetters: DeadLetterRegistration): void {
  assertObject(action, name, deadLetters)
  assertKnownKeys(`${action}: ${name}`, deadLetters, ['owner', 'retentionMs', 'stream'])
  const { owner, retentionMs, stream } = deadLetters
  if (owner !== undefined) assertOwner(action, `${name}.owner`, owner)
  if (retentionMs !== undefined) assertInteger(action, `${name}.retentionMs`, retentionMs, 1)
  if (stream !== undefined) assertText(action, `${name}.stream`, stream)
}

/** The same registration is the same text, whatever the order in which its members were given. */
export function encodeRegistration({ owner, objective, retentionMs, deadLetters }: GroupRegistration): string {
  const { maxLag, maxAgeMs } = objective ?? {}
  const { owner: lettersOwner, retentionMs: lettersMs, stream } = deadLetters ?? {}
  return JSON.stringify({
    owner,
    ...(objective && { objective: { maxLag, maxAgeMs } }),
    retentionMs,
    ...(deadLetters && { deadLetters: { owner: lettersOwner, retentionMs: lettersMs, stream } }),
  })
}

/** What a text of the registry says; `undefined` where somebody else wrote it, and it is none. */
export function parseRegistration(text: string): GroupRegistration | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    assertRegistration('read a registration', 'it', parsed)
    return parsed
  } catch {
    return undefined
  }
}

function assertOwner(action: string, name: string, owner: unknown): void {
  assertText(action, name, owner)
  assertInteger(action, `the length of ${name}`, (owner as string).length, 1, MAX_OWNER)
}
