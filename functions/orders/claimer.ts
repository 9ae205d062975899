import { createClaimer } from 'millrace'
import { redis } from '../redis.ts'
import { billing } from './consumer.ts'

/** Wakes on a schedule: retries what failed, takes over what a dead process left behind, sets aside what cannot succeed. */
export const handler = createClaimer(billing, { redis })
