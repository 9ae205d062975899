import { randomUUID } from 'node:crypto'
import type { Publication } from 'millrace'
import { ChangeEmail, DeactivateUser, RegisterUser, RenameUser } from '../../examples/users/events.ts'
import type { Random } from '../random.ts'

export interface Command {
  readonly commandId: string
  readonly userId: string
  readonly publication: Publication
}

/** Commands for a user before others take its place. */
const COMMANDS_EACH = 20
const DOMAINS = ['one.example', 'two.example', 'three.example', 'four.example']
const NAMES = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald']

/**
 * What somebody sends as the n-th. Of so many users and addresses at a time any may be meant, so that several want one address, some are not there yet, and some no longer.
 */
export function drawCommand(random: Random, n: number, people: number): Command {
  const first = Math.floor(n / COMMANDS_EACH)
  const address = first + random.integer(0, people)
  const userId = userIdOf(first + random.integer(0, people))
  const email = `Person-${address}@${DOMAINS[address % DOMAINS.length]}`
  const name = `${random.pick(NAMES)} ${n}`
  const commandId = randomUUID()
  const options = { eventId: commandId }
  const percent = random.integer(0, 100)
  if (percent < 30) return { commandId, userId, publication: [RegisterUser, { userId, email, name }, options] }
  if (percent < 60) return { commandId, userId, publication: [ChangeEmail, { userId, email }, options] }
  if (percent < 98) return { commandId, userId, publication: [RenameUser, { userId, name }, options] }
  return { commandId, userId, publication: [DeactivateUser, { userId }, options] }
}

function userIdOf(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`
}
