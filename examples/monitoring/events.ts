import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** What a source and a metric may be called: 1 to 100 printable ASCII characters without a space, so that no two series share a key. */
const NAME = 'must be text of 1 to 100 printable ASCII characters without a space'
export const name = z.string(NAME).check(z.regex(/^[\x21-\x7e]{1,100}$/, NAME))

/** At most 12 digits before the point, 6 after it, 15 altogether: a double holds them exactly. So there is no NaN, no infinity and no exponent. */
const DECIMAL = 'must be decimal text, as value.toFixed(6) gives'
const decimal = z.string(DECIMAL).check(z.regex(/^-?(?=[\d.]{1,16}$)\d{1,12}(\.\d{1,6})?$/, DECIMAL))

const TIME = 'must be whole milliseconds since 1970'
/** Somebody measured something. Its `eventId` is what a duplicate is known by: a sender that sends twice gives the same one. A time below 2001 was in seconds. */
export const SampleTaken = defineEvent('SampleTaken', {
  payload: z.object({ source: name, metric: name, value: decimal, at: z.int(TIME).check(z.gte(1e12, TIME)) }),
})
