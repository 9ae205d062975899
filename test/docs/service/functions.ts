// The functions that the runbook's commands invoke.
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Consumer, ConsumerOptions, EventHandler, EventOf, Report, ScheduledHandler } from 'millrace'
import { createClaimer, createPoller, defineConsumer, on, onBatch } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { lambdaFunction } from 'millrace/lambda'
import { reportLogs } from 'millrace/powertools'
import { OrderPaid } from '../../support/consumer.ts'

/** What a test wants of them. */
export interface ServiceOptions {
  readonly consumer?: Partial<ConsumerOptions>
  /**
   * - `send` counts what it sends in the hash `effects`, and `sendOnce` does so once per key.
   * - `die` does as `sendOnce`, but ends the process at order `last`, once another one was sent.
   * - `hang` ignores its signal.
   * - `remote` is another function.
   */
  readonly handler?: 'send' | 'sendOnce' | 'die' | 'hang' | 'remote'
  /** Milliseconds that sending takes. */
  readonly handlerMs?: number
}

export interface Service {
  readonly poller: ScheduledHandler<Report>
  readonly claimer: ScheduledHandler<Report>
  close(): Promise<void>
}

export function createService(
  url: string,
  { consumer = {}, handler = 'send', handlerMs = 0 }: ServiceOptions,
): Service {
  const redis = connectIoredis(url)
  const effects = new Redis(url, { lazyConnect: true })
  const sent = new EventTarget()

  const send: EventHandler<EventOf<typeof OrderPaid>> = async ({ payload }, { deliveryCount, idempotencyKey }) => {
    console.log(`receipt for ${payload.orderId}, attempt ${deliveryCount}, key ${idempotencyKey}`)
    await delay(handlerMs)
    await effects.hincrby('effects', payload.orderId, 1)
    sent.dispatchEvent(new Event('sent'))
  }
  const sendOnce: typeof send = async (event, context) => {
    if (await effects.set(`done:${context.idempotencyKey}`, 1, 'NX')) await send(event, context)
  }
  const die: typeof send = async (event, context) => {
    if (event.payload.orderId !== 'last') return sendOnce(event, context)
    await once(sent, 'sent')
    process.exit(1)
  }
  const handlers = { send, sendOnce, die, hang: () => new Promise(() => {}) }

  const route =
    handler === 'remote'
      ? onBatch(OrderPaid, lambdaFunction('shop-prod-notifyShipping'))
      : on(OrderPaid, handlers[handler])
  const billing: Consumer = defineConsumer({ stream: 'orders', group: 'billing', routes: [route], ...consumer })
  const target = { redis, observe: reportLogs() }
  return {
    poller: createPoller(billing, target),
    claimer: createClaimer(billing, target),
    async close() {
      await redis.close()
      effects.disconnect()
    },
  }
}
