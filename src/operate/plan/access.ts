import type { ConsumerKeys } from '../../core/keys.ts'
import { delayKeys } from '../../core/keys.ts'
import { wrongUseError } from '../../core/options.ts'
import type { Consumer, ConsumerSet } from '../../define/consumer.ts'
import { listConsumers } from '../../define/consumer-set.ts'
import { listPolicyKeyNeeds, type PolicyKeyNeed } from '../../define/policy-needs.ts'

/** ACL rules of a consumer's functions, for `ACL SETUSER` or a cache's user: its keys, and no command that it does not need. */
export interface AccessStrings {
  readonly poller: string
  readonly claimer: string
}

/** Commands on all of a consumer's keys, and those on its own beside the stream. */
interface Rights {
  readonly onAll: readonly string[]
  readonly beside: readonly string[]
}

/** What both do; the last two find the nodes of a cluster, and follow a hash slot that moves. */
const EACH = words(
  'eval evalsha xack xpending xclaim xrange xinfo|stream xinfo|groups xlen xgroup|create hget get mget exists pttl time cluster|slots asking',
)
const EACH_BESIDE = words('xadd xtrim zadd zrem hset hdel setnx getex getdel')

/** What a poller that listens needs beside: it takes what is due. */
const LISTENING = words('zrangebyscore zrangebylex')
/** Its doorbell, where it keeps order. */
const LISTENING_IN_ORDER = words('xread')
/** What promotes delayed events sends to the stream, and to the keys of what is delayed. */
const PROMOTING = {
  onStream: words('xadd type'),
  onDelayed: words('type zcard zscore zrangebyscore zadd zrem hset hdel setnx getdel unlink pexpireat'),
}

const FUNCTIONS = {
  poller: { onAll: [...EACH, 'xreadgroup'], beside: EACH_BESIDE },
  claimer: {
    onAll: [
      ...EACH,
      ...words(
        'xautoclaim xinfo|consumers xgroup|delconsumer zrangebyscore zrangebylex zscan zscore zcard zcount hmget hexists',
      ),
    ],
    beside: [...EACH_BESIDE, 'hsetnx'],
  },
} as const satisfies Readonly<Record<string, Rights>>

/**
 * The ACL rules under which a consumer's poller and claimer do all their work: what every consumer needs, and what its policies say in `needs` and `guard`. What
 * stands in parentheses (a selector) goes only for these keys. Redis 6.2 knows no selectors: there leave out the parentheses, and keep what is in them.
 *
 * @throws {TypeError} A policy does not say what it needs, or the consumer is none.
 */
export function accessOf(consumer: Consumer | ConsumerSet): AccessStrings {
  const rules = listConsumers(consumer).map(rulesOf)
  return { poller: joined(rules.map(({ poller }) => poller)), claimer: joined(rules.map(({ claimer }) => claimer)) }
}

/** The streams of a set share their commands, and each has keys and selectors of its own. */
function joined(rules: readonly AccessRules[]): string {
  const all = (part: keyof AccessRules) => [...new Set(rules.flatMap((one) => one[part]))]
  return ['on', ...all('keys'), '-@all', ...all('commands'), ...all('selectors')].join(' ')
}

function rulesOf(consumer: Consumer): Readonly<Record<keyof AccessStrings, AccessRules>> {
  if (!consumer?.settings || !consumer.keys)
    throw wrongUseError('list rights', 'a consumer must come from defineConsumer')
  const needs = listPolicyKeyNeeds(consumer)
  const { mode, lingerMs } = consumer.settings
  const { poller } = FUNCTIONS
  const listens = mode === 'listen' || lingerMs > 0
  const isOrdered = consumer.policies.some(({ policy }) => policy.kind === 'order')
  const listening = isOrdered ? [...LISTENING, ...LISTENING_IN_ORDER] : LISTENING
  return {
    poller: accessRules(
      consumer,
      listens ? { ...poller, onAll: [...poller.onAll, ...listening] } : poller,
      needs.filter(({ isOfClaimers }) => !isOfClaimers),
    ),
    claimer: accessRules(consumer, FUNCTIONS.claimer, needs),
  }
}

/** The parts of an ACL string. */
interface AccessRules {
  readonly keys: readonly string[]
  readonly commands: readonly string[]
  readonly selectors: readonly string[]
}

function accessRules(
  { keys, delays }: Consumer,
  { onAll, beside }: Rights,
  needs: readonly PolicyKeyNeed[],
): AccessRules {
  const group = keys.slot('').replace(/slot:$/, '')
  const isOwn = (key: string) => key.startsWith(group)
  const own = [`${patternOf(group)}*`, ...(isOwn(keys.deadLetters) ? [] : [patternOf(keys.deadLetters)])]
  // a script's keys must all be among those of one rule, also those of policies among the first
  const ofPolicies = [...new Set(needs.map(({ key }) => key))]
  const delayed = delays ? delayedPatterns(keys) : []
  const others = ofPolicies.filter((key) => !isOwn(key)).map(needPattern)
  const all = new Set([patternOf(keys.stream), ...own, ...delayed, ...others])
  const selectors = ofPolicies.flatMap((key) => {
    const commands = new Set(needs.flatMap((need) => (need.key === key ? need.commands : [])))
    const further = [...commands].filter((command) => !onAll.includes(command))
    return further.length === 0 ? [] : [selector([needPattern(key)], further)]
  })
  const promoting = delays
    ? [selector([patternOf(keys.stream)], PROMOTING.onStream), selector(delayed, PROMOTING.onDelayed)]
    : []
  const ownRules = selector(own, beside)
  return { keys: patterns([...all]), commands: allowed(onAll), selectors: [ownRules, ...promoting, ...selectors] }
}

function delayedPatterns({ stream }: ConsumerKeys): string[] {
  const { delayed } = delayKeys(stream)
  return [patternOf(delayed), `${patternOf(delayed)}:*`]
}

function selector(keys: readonly string[], commands: readonly string[]): string {
  return `(${[...patterns(keys), '-@all', ...allowed(commands)].join(' ')})`
}

const patterns = (keys: readonly string[]) => keys.map((key) => `~${key}`)
const allowed = (commands: readonly string[]) => commands.map((command) => `+${command}`)

function needPattern(key: string): string {
  return key.endsWith('*') ? `${patternOf(key.slice(0, -1))}*` : patternOf(key)
}

/** A pattern of only that key; what no rule can hold stands for any character. */
function patternOf(key: string): string {
  return key.replace(/[\\*?[\]]/g, '\\$&').replace(/[\s()]/g, '?')
}

function words(text: string): readonly string[] {
  return text.split(' ')
}
