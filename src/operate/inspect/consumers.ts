import type { ConsumerKeys } from '../../core/keys.ts'
import { CONSUMER_NUMBER_OPTIONS } from '../../core/rows.ts'
import { CLAIMER_SLOT_COUNT, slotConsumerNames } from '../../group/consumer-names.ts'
import type { ConsumerInfo } from '../../group/redis/commands/xinfo-consumers.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { ServerQuestion } from '../ask.ts'
import { askQuestions } from '../ask.ts'
import type { ConsumerInspection } from './inspection.ts'
import type { UnknownFactsCollector } from './unknowns.ts'

/** Leases of a group that are inspected. */
const MAX_LEASES = 100
/** Names that are slots of ours, and so have leases. */
const SLOT_NAME = /^(poller|claimer)-\d{1,3}$/

/**
 * A group's consumer names, and which of the slots are held. A slot that is held and that the server has no consumer for yet, since it never
 * read, is among them.
 */
export async function inspectConsumers(
  sender: CallSender,
  keys: ConsumerKeys | undefined,
  slots: number = CONSUMER_NUMBER_OPTIONS.maxPollers.default,
  isOurs: boolean | undefined,
  consumers: readonly ConsumerInfo[],
  unknowns: UnknownFactsCollector,
): Promise<ConsumerInspection[]> {
  const leases = keys && isOurs !== false ? await readLeases(sender, keys, slots, consumers, unknowns) : new Map()
  const known = new Set(consumers.map(({ name }) => name))
  const holders = [...leases].flatMap(([name, lease]) =>
    lease.isLeased && !known.has(name) ? [{ name, pending: 0, ...lease }] : [],
  )
  return [...consumers.map((info) => ({ ...info, ...leases.get(info.name) })), ...holders]
}

type Lease = Pick<ConsumerInspection, 'isLeased' | 'leaseMs'>

async function readLeases(
  sender: CallSender,
  keys: ConsumerKeys,
  slots: number,
  consumers: readonly ConsumerInfo[],
  unknowns: UnknownFactsCollector,
): Promise<Map<string, Lease>> {
  const own = consumers.flatMap(({ name }) => (SLOT_NAME.test(name) ? [name] : []))
  const names = [
    ...new Set([...slotConsumerNames('poller', slots), ...slotConsumerNames('claimer', CLAIMER_SLOT_COUNT), ...own]),
  ]
  const asked = names.slice(0, MAX_LEASES)
  const answers = await askQuestions(sender, Object.fromEntries(asked.map((name) => [name, leaseQuestion(keys, name)])))
  const leases = new Map<string, Lease>()
  for (const name of asked) {
    const lease = unknowns.read('leases', answers[name])
    if (lease) leases.set(name, lease)
  }
  return leases
}

function leaseQuestion(keys: ConsumerKeys, name: string): ServerQuestion<Lease> {
  return { call: ['pttl', keys.slot(name)], right: '+pttl', read: asLease }
}

/** PTTL answers -2 where there is no key, and -1 where a key lasts for ever. */
function asLease(reply: RedisReply): Lease {
  const leftMs = Number(reply)
  return { isLeased: leftMs !== -2, leaseMs: leftMs >= 0 ? leftMs : undefined }
}
