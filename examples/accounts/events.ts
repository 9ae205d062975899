import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** The stream of all accounts. Each is an aggregate of it, and so is each request. */
export const STREAM = 'accounts'

/** What an account or a request may be called: no colon, so that two names joined by one are never two others. */
export const name = z.string().check(z.regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes or _'))
export const owner = z.string().check(z.minLength(1), z.maxLength(200))
/** An amount in minor units: a whole number from 1 to 2^53 - 1, which a double holds exactly. */
export const cents = z.int().check(z.positive())

export const AccountOpened = defineEvent('AccountOpened', { payload: z.object({ owner }) })
/** Version 1 had decimal text, as `12.34`. */
export const Deposited = defineEvent('Deposited', {
  version: 2,
  payload: z.object({ cents }),
  upcast: {
    1: ({ amount }) => ({ cents: /^\d+\.\d\d$/.test(String(amount)) && Number(String(amount).replace('.', '')) }),
  },
})
export const Withdrawn = defineEvent('Withdrawn', { payload: z.object({ cents }) })
/** The money has left this account, and is on its way: until it was received, or is back. */
export const TransferSent = defineEvent('TransferSent', {
  payload: z.object({ requestId: name, from: name, to: name, cents }),
})
export const TransferReceived = defineEvent('TransferReceived', { payload: z.object({ from: name, cents }) })
export const TransferReturned = defineEvent('TransferReturned', { payload: z.object({ to: name, cents }) })
/** All that an account may have, and what it does to its balance. */
export const ACCOUNT_EVENTS = [AccountOpened, Deposited, Withdrawn, TransferSent, TransferReceived, TransferReturned]
export const SIGNS = { Deposited: 1n, Withdrawn: -1n, TransferSent: -1n, TransferReceived: 1n, TransferReturned: 1n }

/** One step of a request was taken, together with the event of an account. A transfer has two; everything else has one. */
export const RequestHandled = defineEvent('RequestHandled', { payload: z.object({ command: z.string() }) })
