import { defineEvent } from 'millrace'
import * as z from 'zod/mini'

/** What a source and a metric may be called: 1 to 100 printable ASCII characters without a space, so that no two series share a key. */
export const name = z.string().check(z.regex(/^[\x21-\x7e]{1,100}$/, 'must be printable ASCII without a space'))

/** At most 12 digits before the point, 6 after it, 15 altogether: a double holds them exactly. So there is no NaN, no infinity and no exponent. */
const decimal = z.string().check(z.regex(/^-?(?=[\d.]{1,16}$)\d{1,12}(\.\d{1,6})?$/, 'must be decimal text'))

/**
 * Somebody measured something. Its `eventId` is what a duplicate is known by: a sender that sends twice gives the same one. `at` is in milliseconds
 * since 1970; what is below 2001 was in seconds.
 */
export const SampleTaken = defineEvent('SampleTaken', {
  payload: z.object({ source: name, metric: name, value: decimal, at: z.int().check(z.gte(1e12)) }),
})
