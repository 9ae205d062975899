import { defineConsumer, idempotent, on } from 'millrace'
import { SampleTaken } from './events.ts'
import { AHEAD_MS, MAX_AGE_MS, recordSample } from './record-sample.ts'

export const rollup = defineConsumer({
  stream: 'samples',
  group: 'rollup',
  routes: [on(SampleTaken, recordSample)],
  use: [idempotent({ ttlMs: MAX_AGE_MS + AHEAD_MS + 300_000 })], // five minutes for clocks that differ
  batchSize: 200,
  concurrency: 20,
  handlerTimeoutMs: 5_000,
  minIdleMs: 15_000, // what a dead process held is back within a claimer's period
  deadLetters: { maxLength: 10_000 }, // a source that sends nonsense for days
})
