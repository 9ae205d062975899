import type { Consumer } from '../../define/consumer.ts'
import { POLICY_MACHINERY } from '../../define/policy.ts'
import type { PolicyEngine } from '../../run/policy-engine.ts'
import type { OrderedConsumer } from './order-firsts.ts'

/** How a consumer orders entries; `undefined` where it keeps no order. */
export function orderedConsumerOf(consumer: Consumer): OrderedConsumer | undefined {
  for (const { policy } of consumer.policies) {
    const { laneOf } = (policy[POLICY_MACHINERY] ?? {}) as Partial<PolicyEngine>
    if (laneOf)
      return { typeField: consumer.codec.typeField ?? 'eventType', laneOf: (entry) => laneOf(consumer, entry) }
  }
  return undefined
}
