// A process that polls and claims until somebody kills it.
import { poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { claimOnce } from '../support/claim-once.ts'
import { booking } from './booking.ts'

const redis = connectIoredis(process.argv[2] ?? '')
const consumer = booking(redis)
for (;;) {
  await poll(consumer, { redis, remainingMs: 20_000 }).catch(() => {})
  await claimOnce(consumer, { redis, remainingMs: 20_000 }).catch(() => {})
}
