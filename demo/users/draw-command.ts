import { randomUUID } from 'node:crypto'
import type { Publication } from 'millrace'
import { ChangeEmail, DeactivateUser, RegisterUser, RenameUser } from '../../examples/users/events.ts'
import type { Random } from '../random.ts'

export interface Command {
  readonly commandId: string
  readonly userId: string
  readonly publication: Publication
}

/** Commands for each user, before others take its place. */
const COMMANDS_EACH = 20
/** Addresses for each user. */
const ADDRESSES_EACH = 3
const DOMAINS = ['one.example', 'two.example', 'three.example', 'four.example']
const NAMES = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald']

/**
 * What somebody sends as the n-th. Any of so many users and of their addresses may be meant, the newest users by who registers, and at first all of them: so several want one address at once, and some users are
 * not there, or no longer.
 */
export function drawCommand(random: Random, n: number, people: number): Command {
  const oldest = Math.floor(n / COMMANDS_EACH)
  const address = random.integer(oldest, oldest + people) * ADDRESSES_EACH + random.integer(0, ADDRESSES_EACH)
  const email = `Person-${address}@${DOMAINS[address % DOMAINS.length]}`
  const name = `${random.pick(NAMES)} ${n}`
  const percent = random.integer(0, 100)
  const isNew = n < people || percent < 10
  const someone = oldest + random.integer(isNew ? Math.floor(people * 0.9) : 0, people)
  const userId = userIdOf(n < people ? n : someone)
  const commandId = randomUUID()
  const options = { eventId: commandId }
  if (isNew) return { commandId, userId, publication: [RegisterUser, { userId, email, name }, options] }
  if (percent < 50) return { commandId, userId, publication: [ChangeEmail, { userId, email }, options] }
  if (percent < 98) return { commandId, userId, publication: [RenameUser, { userId, name }, options] }
  return { commandId, userId, publication: [DeactivateUser, { userId }, options] }
}

function userIdOf(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`
}
