import type { BatchContext, BatchEvent, Consumer } from 'millrace'
import { onBatch as bindBatch, defineConsumer } from 'millrace'
import { OrderPaid } from '../support/scenario.ts'

export { OrderPaid }

/** Group `billing` on stream `orders` with a batch handler. */
export function onBatch(
  event: typeof OrderPaid,
  handler: (events: readonly BatchEvent[], context: BatchContext) => unknown,
): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [bindBatch(event, handler as never)],
    backoff: { firstMs: 0 },
  })
}
