import type { Source } from '../../tools/bundle.ts'

/** The group that the bare handler reads from; the sample has its own. */
export const BARE_GROUP = 'bare'

/** Starts from nothing, once per run: what is measured. */
export interface Contender {
  readonly name: string
  readonly source: Source
}

export const millrace: Contender = { name: 'millrace', source: { file: 'functions/orders/poller.ts' } }

/** The least that a function which reads a stream can be: no slot, no ack, no report. */
export const bare: Contender = {
  name: 'bare ioredis handler',
  source: {
    code: `
import { Redis } from 'ioredis'
const redis = new Redis(process.env.REDIS_URL)
export const handler = async () => {
  const reply = await redis.xreadgroup('GROUP', '${BARE_GROUP}', 'bare', 'COUNT', 100, 'STREAMS', 'orders', '>')
  return { read: reply?.[0]?.[1].length ?? 0 }
}`,
  },
}

/** ioredis by itself: what a bundle's size is compared with. */
export const ioredis: Source = { code: `export { Redis } from 'ioredis'` }
