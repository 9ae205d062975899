import { parseCondition, RESERVED_CONDITION_REASONS } from '../../core/condition.ts'
import type { Consumer } from '../../define/consumer.ts'
import type { TakeDueRequest } from '../../group/group.ts'
import { isDecidedByServer, isThere } from '../awaited.ts'
import type { Run } from '../run.ts'

/** Whether what entries wait for is over by now, as far as a run knows. What waits for a policy that is used no more waits for nothing. */
export function isOver(condition: string, { policies, alwaysOn, pauses, parts }: Run): boolean {
  const { consumer } = parts
  return (
    isThere(condition, consumer, alwaysOn.unavailable) ||
    pauses.isOver(condition) ||
    isAbandoned(condition, consumer) ||
    Boolean(policies?.isOver(condition))
  )
}

function isAbandoned(condition: string, { policies }: Consumer): boolean {
  const { reason } = parseCondition(condition)
  return !RESERVED_CONDITION_REASONS.includes(reason as never) && !policies.some(({ policy }) => policy.name === reason)
}

/** Of conditions that are over, those that a request has to name; some with how much of them comes back. */
export function namedConditions(conditions: readonly string[], { policies }: Run): TakeDueRequest['conditions'] {
  return conditions
    .filter((condition) => !isDecidedByServer(condition))
    .map((condition) => {
      const over = policies?.isOver(condition)
      return typeof over === 'object' ? { condition, ...over } : condition
    })
}
