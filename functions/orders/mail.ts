import { setTimeout as sleep } from 'node:timers/promises'

export interface Mail {
  readonly to: string
  readonly subject: string
  readonly text: string
  /** Of several mails with the same key, one is delivered. */
  readonly idempotencyKey: string
  /** 1 the first time. */
  readonly attempt: number
  readonly signal: AbortSignal
}

/** A mail server that could not take a mail for now. */
export class MailServerBusyError extends Error {
  override readonly name = 'MailServerBusyError'
}

const DELIVERY_MS = 15
const ATTEMPTS_WHILE_BUSY = 2

/**
 * Stands in for a mail provider and sends nothing. As providers' sandboxes do, it goes by the address: a mail to `busy…` is taken at the
 * third attempt, any other at once. Put your provider's client in its place.
 */
export const mail = {
  async send({ to, attempt, signal }: Mail): Promise<void> {
    await sleep(DELIVERY_MS, undefined, { signal })
    if (to.startsWith('busy') && attempt <= ATTEMPTS_WHILE_BUSY)
      throw new MailServerBusyError('451 4.7.1 mail server busy, try again later')
  },
}
