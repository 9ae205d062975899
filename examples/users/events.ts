import { domainToASCII } from 'node:url'
import { defineEvent, type EventOf } from 'millrace'
import * as z from 'zod/mini'

/** One hash slot for all: what a command changes takes place in one step with its acknowledgement. */
export const COMMANDS = '{users}:commands'
export const EVENTS = '{users}:events'

/**
 * One text for all ways to write an address: compatible characters are one, letters are small, a domain is in ASCII. A provider may take `Ada@` for
 * another one than `ada@`; here they are one.
 */
export function addressOf(email: string): string {
  const at = email.lastIndexOf('@')
  const local = email.slice(0, at).normalize('NFKC').toLowerCase().normalize('NFKC')
  return `${local}@${domainToASCII(email.slice(at + 1))}`
}

export function domainOf(email: string): string {
  return email.slice(email.lastIndexOf('@') + 1)
}

/** In small letters: one user, however it is written. */
const userId = z.uuid().check(z.toLowerCase())
const name = z.string().check(
  z.trim(),
  z.minLength(1),
  z.maxLength(100),
  // half a character is another one once Redis has it
  z.refine((text) => text.isWellFormed()),
)
/** Nothing that one does not see, and in a domain nothing that `domainToASCII` reads as the end of it, or in another way. */
const WRITTEN =
  /^[^\s@\p{C}\p{Default_Ignorable_Code_Point}]{1,64}@[^\s@\p{C}\p{Default_Ignorable_Code_Point}/?#\\:%]+$/u
/** RFC 5321 has 254 bytes for an address, and 64 for what is before the @. A domain is labels of 63 letters, digits and dashes, the last no number; without a dot at its end, with which it would be another text. */
const ADDRESS = /^[^\s@]{1,64}@(?:[a-z\d_](?:[a-z\d_-]{0,61}[a-z\d_])?\.)+[a-z](?:[a-z\d-]{0,61}[a-z\d])?$/u
const email = z.pipe(
  z.pipe(z.string().check(z.maxLength(254), z.regex(WRITTEN)), z.transform(addressOf)),
  z.string().check(
    z.regex(ADDRESS),
    z.refine((text) => Buffer.byteLength(text) <= 254),
  ),
)

/** The commands: what somebody wants. The eventId is the command's id, under which its outcome is found. */
export const RegisterUser = defineEvent('RegisterUser', { payload: z.object({ userId, email, name }) })
export const ChangeEmail = defineEvent('ChangeEmail', { payload: z.object({ userId, email }) })
export const RenameUser = defineEvent('RenameUser', { payload: z.object({ userId, name }) })
export const DeactivateUser = defineEvent('DeactivateUser', { payload: z.object({ userId }) })

/** The events: what happened. Each has the user as it then was, and its version: 1, 2, 3 … without a gap. */
const user = { userId, version: z.int(), email: z.string(), name: z.string(), active: z.boolean() }
export const UserRegistered = defineEvent('UserRegistered', { payload: z.object(user) })
export const EmailChanged = defineEvent('EmailChanged', { payload: z.object({ ...user, from: z.string() }) })
export const UserRenamed = defineEvent('UserRenamed', { payload: z.object(user) })
export const UserDeactivated = defineEvent('UserDeactivated', { payload: z.object(user) })

export type User = EventOf<typeof UserRegistered>['payload']
