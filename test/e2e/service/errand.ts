import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { EventOf, HandlerContext } from 'millrace'
import { defineConsumer, defineEvent, on } from 'millrace'
import * as z from 'zod/mini'

/** What a handler is to do. */
export const Errand = defineEvent('Errand', {
  payload: z.object({
    name: z.string(),
    /** Milliseconds it takes. */
    takesMs: z.optional(z.number()),
    /** Ends the process: blocks the event loop until Lambda does, or takes all memory. */
    death: z.optional(z.enum(['loop', 'memory'])),
    fails: z.optional(z.boolean()),
  }),
})

async function run(
  { payload }: EventOf<typeof Errand>,
  { deliveryCount, consumerName }: HandlerContext,
): Promise<void> {
  const { name, takesMs = 0, death, fails } = payload
  note({ name, deliveryCount, consumerName, version: process.env.VERSION, at: Date.now(), event: 'started' })
  if (fails) throw new Error('no')
  if (death === 'loop') for (;;);
  if (death === 'memory') await fillMemory()
  await delay(takesMs)
  note({ name, deliveryCount, consumerName, version: process.env.VERSION, event: 'done' })
}

/** What happened, where a test can read it: a killed process answers nothing. */
function note(what: object): void {
  appendFileSync(process.env.DIARY as string, `${JSON.stringify(what)}\n`)
}

async function fillMemory(): Promise<never> {
  for (const kept: Buffer[] = []; ; ) {
    kept.push(Buffer.alloc(32 << 20, kept.length))
    await delay(1)
  }
}

export const runner = defineConsumer({
  stream: 'errands',
  group: 'runner',
  routes: [on(Errand, run)],
  handlerTimeoutMs: 1_500,
  minIdleMs: 1_000,
  allowLongHandlers: true,
  reserveMs: 200,
  // retries by the default back-off, to the second, where a test wants them
  ...(process.env.KEEPS_TIME ? { maxDeliveries: 5 } : { maxDeliveries: 2, backoff: { firstMs: 0 } }),
  ...(process.env.KEEPS_TIME === 'listen' && { mode: 'listen' as const }),
})
