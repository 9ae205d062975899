import { defineConsumer, on } from 'millrace'
import { settleTransfer } from './commands.ts'
import { STREAM, TransferSent } from './events.ts'

/** Every transfer that was sent is received, or returned. */
export const transfers = defineConsumer({
  stream: STREAM,
  group: 'transfers',
  routes: [on(TransferSent, settleTransfer)],
  unrouted: 'ignore',
  handlerTimeoutMs: 10_000,
  minIdleMs: 20_000,
  maxDeliveries: 20, // money is on its way
})
