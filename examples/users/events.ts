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

const userId = z.uuid()
const name = z.string().check(z.trim(), z.minLength(1), z.maxLength(100))
/** RFC 5321 has 254 bytes for an address, and 64 for what is before the @. The second check also refuses a domain that is none, which is empty in ASCII. */
const ADDRESS = /^[^\s@]{1,64}@[^\s@]+\.[^\s@]+$/u
const email = z.pipe(
  z.pipe(z.string().check(z.maxLength(254), z.regex(ADDRESS)), z.transform(addressOf)),
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
