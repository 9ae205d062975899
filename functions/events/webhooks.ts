import type { EventOf } from 'millrace'
import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** What a merchant is called: part of keys, so that nothing else gets in. */
export const merchantId = z.string().check(z.regex(/^[\w-]{1,64}$/))

/** What an event may be called: it is part of what is signed, of a header, and of a key. */
export const isHeaderId = (eventId: string) => /^[\w:-]{1,128}$/.test(eventId)

/** A merchant is to hear of something. The data goes to its endpoint as it is. */
export const WebhookDue = defineEvent('WebhookDue', {
  payload: z.object({
    merchantId,
    type: z.string().check(z.regex(/^[\w.-]{1,128}$/)),
    data: z.record(z.string(), z.unknown()),
  }),
})

export type WebhookEvent = EventOf<typeof WebhookDue>
