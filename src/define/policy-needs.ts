import { errorTexts } from '../core/dead-letter/dead-letter.ts'
import { COMMANDS_JOINABLE_TO_ACK } from '../core/joinable.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { exampleInSlot, hashSlot } from '../core/keys.ts'
import { assertText, wrongUseError } from '../core/options.ts'
import { quotedValue } from '../errors.ts'
import type { Consumer } from './consumer.ts'
import type { PolicyDefinition } from './policy.ts'

/** What a policy needs on one key. */
export interface PolicyKeyNeed {
  readonly policy: string
  /** A `*` at its end stands for any text. */
  readonly key: string
  /** As an ACL has them: `sismember`, `xinfo|stream`. */
  readonly commands: readonly string[]
  /** Only what starts claimed entries needs it. */
  readonly isOfClaimers: boolean
}

/** A command, or a subcommand: `xinfo|stream`. */
const COMMAND = /^[a-z][\w.-]*(\|[a-z-]+)?$/i

/** What joins an acknowledgement has the type of its key checked first. */
const BEFORE_JOINING = 'type'

/** What the server asks of a guard's key. */
const GUARDING = { all: 'exists', types: 'sismember' } as const

/**
 * What the policies of a consumer and its routes need of the server, beside what every consumer does.
 *
 * @throws {TypeError} A policy's `needs` or `guard` threw, or answered something else; the message names it.
 */
export function listPolicyKeyNeeds({ group, stream, keys, policies }: Consumer): readonly PolicyKeyNeed[] {
  const action = `list what group ${quotedValue(group)} on stream ${quotedValue(stream)} needs`
  return unique(policies.map(({ policy }) => policy)).flatMap((policy) => {
    const needs = [...sentBy(action, policy, keys), ...askedFor(action, policy, keys)]
    for (const { key } of needs) {
      assertText(action, `every key of ${quotedValue(policy.name)}`, key)
      if (hashSlot(key) !== hashSlot(stream))
        throw wrongUseError(
          action,
          `keys of ${quotedValue(policy.name)} must lie in the stream's hash slot, as ${exampleInSlot(stream)}, got ${quotedValue(key)}`,
        )
    }
    return needs
  })
}

/** What a policy sends. */
function sentBy(action: string, policy: PolicyDefinition, keys: ConsumerKeys): readonly PolicyKeyNeed[] {
  const { name } = policy
  const needs = answerOf(action, policy, 'needs', () => [...(policy.needs?.(keys).keys ?? [])])
  return needs.map(({ key, commands }) => {
    const names = namesOf(action, name, commands)
    const joins = names.some((command) => Object.hasOwn(COMMANDS_JOINABLE_TO_ACK, command))
    return { policy: name, key, commands: unique([...names, ...(joins ? [BEFORE_JOINING] : [])]), isOfClaimers: false }
  })
}

/** What the server asks for a policy. */
function askedFor(action: string, policy: PolicyDefinition, keys: ConsumerKeys): readonly PolicyKeyNeed[] {
  const { name } = policy
  const needs: PolicyKeyNeed[] = []
  const guard = answerOf(action, policy, 'guard', () => policy.guard?.(keys))
  if (guard) {
    const { key, holds } = guard
    needs.push({ policy: name, key, commands: [GUARDING[holds]], isOfClaimers: true })
  }
  return needs
}

function namesOf(action: string, by: string, commands: readonly string[]): readonly string[] {
  const unnamed = Array.isArray(commands)
    ? commands.findIndex((command) => typeof command !== 'string' || !COMMAND.test(command))
    : 0
  if (unnamed < 0) return commands.map((command) => command.toLowerCase())
  throw wrongUseError(
    action,
    `commands of ${quotedValue(by)} must be names of commands, got ${quotedValue(commands?.[unnamed])}`,
  )
}

function answerOf<T>(action: string, { name }: PolicyDefinition, hook: string, ask: () => T): T {
  try {
    return ask()
  } catch (error) {
    const { name: kind, message } = errorTexts(error)
    throw wrongUseError(action, `${hook} of ${quotedValue(name)} must answer, got ${kind}: ${message}`)
  }
}

function unique<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)]
}
