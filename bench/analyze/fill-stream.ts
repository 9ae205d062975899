import type { Redis } from 'ioredis'

/** Entries that one script adds. */
const PER_SCRIPT = 50_000
/** When the first one was written. */
const START_MS = Date.UTC(2026, 0, 1)

/** Ten types, 1,000,000 values of `action`, a producer, the time, a payload of 40 bytes; 20 entries a second. */
const SCRIPT = `
local types = {'OrderPaid', 'OrderShipped', 'OrderReturned', 'PageViewed', 'CartChanged', 'UserAdded', 'MailSent', 'StockLow', 'PriceSet', 'Refunded'}
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local ms = tonumber(ARGV[3]) + n * 50
  redis.call('XADD', KEYS[1], string.format('%d-0', ms), 'eventType', types[n % 10 + 1], 'producer', 'shop', 'occurredAt', string.format('%d', ms - n % 1000),
    'action', string.format('action-%d', n % 1000000), 'payload', '{"orderId":"o-1","amount":"10.00"}')
end`

/** Fills a stream with so many entries. */
export async function fillStream(redis: Redis, stream: string, entries: number): Promise<void> {
  for (let from = 0; from < entries; from += PER_SCRIPT)
    await redis.eval(SCRIPT, 1, stream, from, Math.min(entries, from + PER_SCRIPT) - 1, START_MS)
}
