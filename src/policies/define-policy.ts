import { RESERVED_CONDITION_REASONS } from '../core/condition.ts'
import { isSynchronousFunction } from '../core/handler-function.ts'
import { assertOneOf, assertText, wrongUseError } from '../core/options.ts'
import type { DefinedPolicy, Policy, PolicyDefinition } from '../define/policy.ts'
import { POLICY_KINDS, POLICY_MACHINERY } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import { joinScriptCalls } from '../group/redis/joining.ts'
import type { PolicyEngine } from '../run/policy-engine.ts'
import { combineConsumerPolicies } from './combine-consumer-policies.ts'
import { RunPolicies } from './run-policies.ts'

/** What may be in a definition, and what it must be; the others are functions. */
const HOOKS = ['name', 'kind', 'excludes', 'wrap', 'maxPollers', 'guard', 'assertFits', 'needs', 'begin'] as const
const FUNCTIONS = ['wrap', 'guard', 'assertFits', 'needs', 'begin'] as const

const ENGINE: PolicyEngine = {
  together: combineConsumerPolicies,
  atWork: (parts, time, fail) => new RunPolicies(parts, time, fail),
  open: (redis, consumer, remainingMs) =>
    consumer.policies.reduce(
      (group, { policy }) =>
        (policy[POLICY_MACHINERY] as PolicyEngine | undefined)?.groupOf?.(group, consumer) ?? group,
      redis.group({ ...consumer, joinCalls: joinScriptCalls }, remainingMs),
    ),
}

/**
 * Makes a policy that does more than wrap, to be used on consumers or routes. What puts policies to work comes with it: a function whose consumers use none
 * is deployed without. The definition is copied; its hooks are called on it.
 *
 * @throws {TypeError} No name, a hook that there is not, or one that is no function that answers at once.
 */
export function definePolicy(definition: PolicyDefinition): Policy {
  return definePolicyWith(definition, {})
}

/** The same, for a policy of this package that changes the group of its consumer. */
export function definePolicyWith(definition: PolicyDefinition, own: Pick<PolicyEngine, 'groupOf' | 'laneOf'>): Policy {
  checkDefinition(definition)
  const hooks = HOOKS.flatMap((hook) => {
    const value = definition[hook]
    return value === undefined ? [] : [[hook, ownOf(value, definition)] as const]
  })
  const policy = Object.fromEntries(hooks)
  // not to be seen by those who copy it: what they make of it was not checked
  Object.defineProperty(policy, POLICY_MACHINERY, { value: { ...ENGINE, ...own } })
  return Object.freeze(policy) as unknown as DefinedPolicy
}

function ownOf(value: unknown, definition: PolicyDefinition): unknown {
  if (typeof value === 'function') return value.bind(definition)
  return Array.isArray(value) ? Object.freeze([...value]) : value
}

function checkDefinition(definition: PolicyDefinition): void {
  if (typeof definition !== 'object' || definition === null)
    throw wrongUseError(
      'define a policy',
      'it must be an object with a name and hooks; a function around the handler is one by itself',
    )
  const { name, maxPollers, excludes, kind } = definition
  assertText('define a policy', 'name', name)
  const action = `define policy ${quotedValue(name)}`
  if (RESERVED_CONDITION_REASONS.includes(name as never))
    throw wrongUseError(
      action,
      `its name must be none of ${RESERVED_CONDITION_REASONS.join(', ')}: entries that wait have these reasons`,
    )
  const unknown = Object.keys(definition).find((hook) => !HOOKS.includes(hook as never))
  if (unknown !== undefined)
    throw wrongUseError(action, `there is no hook ${quotedValue(unknown)}; there are ${HOOKS.join(', ')}`)
  for (const hook of FUNCTIONS)
    if (definition[hook] !== undefined && !isSynchronousFunction(definition[hook]))
      throw wrongUseError(action, `${hook} must be a function that answers at once`)
  if (kind !== undefined) assertOneOf(action, 'kind', kind, POLICY_KINDS)
  if (maxPollers !== undefined && !(Number.isInteger(maxPollers) && maxPollers > 0))
    throw wrongUseError(action, 'maxPollers must be a whole number >= 1')
  if (excludes !== undefined && !(Array.isArray(excludes) && excludes.every((other) => typeof other === 'string')))
    throw wrongUseError(action, 'excludes must be an array of names')
}
