import type { Consumer } from '../../define/consumer.ts'
import { type PolicyJob, type PolicyRun, RUN_INSIDE } from '../../define/policy.ts'
import type { FlowRule } from '../../policies/flow/flow-rules.ts'
import { scopeOf } from '../../policies/flow/flow-rules.ts'

/** A rate limit or a concurrency limit of a consumer. */
export interface ConsumerLimit {
  readonly policy: 'rateLimit' | 'concurrencyLimit'
  /** Left out: one of all routes together. */
  readonly eventType?: string
  readonly max: number
  /** Only of a rate limit: its window, in milliseconds. */
  readonly perMs?: number
  /** Where its state lies; left out where `by` gives each name a limit of its own. */
  readonly key?: string
}

/** What the flow control of a consumer is made of. */
export interface ConsumerFlow {
  readonly limits: readonly ConsumerLimit[]
  /** How long its circuit breakers wait before a probe, in milliseconds, by event type; `''`: what the consumer itself says, of all types. */
  readonly probeAfterMs: Readonly<Record<string, number>>
}

const FLOW_KINDS: readonly (string | undefined)[] = ['breaker', 'concurrency', 'rate']

/** What a consumer's policies would have the gate of a run ask for: their rules stand nowhere else. */
export function flowOf(consumer: Consumer): ConsumerFlow {
  const rules = rulesOf(consumer)
  const breakers = rules.flatMap(({ rule }) =>
    rule.kind === 'breaker' ? [[rule.eventType ?? '', rule.rules.probeAfterMs] as const] : [],
  )
  return {
    limits: rules.flatMap(({ rule, scope }) => limitOf(rule, scope, consumer) ?? []),
    probeAfterMs: Object.fromEntries(breakers),
  }
}

interface ScopedRule {
  readonly rule: FlowRule
  readonly scope: string
}

function rulesOf({ policies, keys, settings }: Consumer): readonly ScopedRule[] {
  const found: ScopedRule[] = []
  let scope = ''
  const gate = {
    add: (rule: FlowRule) => void found.push({ rule, scope }),
    // as the gate of a run names them
    scopeOf: (kind: FlowRule['kind'], eventType: string | undefined) => {
      const rules = found.map(({ rule }) => rule)
      scope = scopeOf(rules, kind, eventType)
      return scope
    },
    admit: () => [],
  }
  for (const { policy, eventType } of policies) {
    if (!FLOW_KINDS.includes(policy.kind)) continue
    try {
      policy.begin?.({ eventType, keys, settings, [RUN_INSIDE]: { gate } } as unknown as PolicyRun)
    } catch {
      // a policy of somebody else, which only takes the name of a kind
    }
  }
  return found
}

function limitOf(rule: FlowRule, scope: string, { keys }: Consumer): ConsumerLimit | undefined {
  if (rule.kind === 'breaker') return undefined
  const { kind, eventType, max } = rule
  const isNamed = nameOf(rule, eventType) !== scope
  const key = kind === 'turn' ? keys.rate(scope) : keys.places(scope)
  return {
    policy: kind === 'turn' ? 'rateLimit' : 'concurrencyLimit',
    ...(eventType !== undefined && { eventType }),
    max,
    ...(kind === 'turn' && { perMs: rule.perMs }),
    ...(!isNamed && { key }),
  }
}

/** Without `by` all events have one name, also this one. */
function nameOf(rule: Exclude<FlowRule, { kind: 'breaker' }>, type = ''): string | undefined {
  return rule.nameOf({ event: { type, payload: {} } } as unknown as PolicyJob)
}
