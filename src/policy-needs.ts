import type { Consumer } from './consumer.ts'
import { describeError } from './core/dead-letter.ts'
import { JOINABLE } from './core/joinable.ts'
import { hashSlot } from './core/keys.ts'
import { cannot } from './core/options.ts'
import { quoted } from './core/quoted.ts'
import type { PolicyDefinition } from './policy.ts'

/** What a policy needs on one key. */
export interface Need {
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

/** What joins an acknowledgement has the type of its key looked at first. */
const BEFORE_JOINING = 'type'

/** What the server asks of a guard's key. */
const GUARDING = { all: 'exists', types: 'sismember' } as const

/**
 * What the policies of a consumer and its routes need of the server, beside what every consumer does.
 *
 * @throws {TypeError} A policy's `needs` or `guard` threw, or answered something else; the message names it.
 */
export function needsOf({ group, stream, keys, policies }: Consumer): readonly Need[] {
  const action = `tell what group ${quoted(group)} on stream ${quoted(stream)} needs`
  const named = new Map(policies.map(({ policy }) => [policy, policy]))
  return [...named.keys()].flatMap((policy) => {
    const { name: by } = policy
    const asked = answerOf(action, policy, 'needs', () => policy.needs?.(keys).keys ?? [])
    const guard = answerOf(action, policy, 'guard', () => policy.guard?.(keys))
    const unnamed = asked.flatMap(({ commands }) => commands).find((command) => !COMMAND.test(command))
    if (unnamed !== undefined)
      throw cannot(action, `commands of ${quoted(by)} must be names of commands, got ${quoted(unnamed)}`)
    const sent = asked.map(({ key, commands }) => {
      const names = commands.map((command) => command.toLowerCase())
      const joins = names.some((name) => Object.hasOwn(JOINABLE, name))
      return { policy: by, key, commands: unique([...names, ...(joins ? [BEFORE_JOINING] : [])]), isOfClaimers: false }
    })
    const guarded = guard && { policy: by, key: guard.key, commands: [GUARDING[guard.holds]], isOfClaimers: true }
    const needs: readonly Need[] = [...sent, ...(guarded ? [guarded] : [])]
    for (const { key } of needs)
      if (hashSlot(key) !== hashSlot(stream))
        throw cannot(action, `keys of ${quoted(by)} must lie in the stream's hash slot, got ${quoted(key)}`)
    return needs
  })
}

function answerOf<T>(action: string, { name }: PolicyDefinition, hook: string, ask: () => T): T {
  try {
    return ask()
  } catch (error) {
    const { name: kind, message } = describeError(error)
    throw cannot(action, `${hook} of ${quoted(name)} must answer, got ${kind}: ${message}`)
  }
}

function unique<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)]
}
