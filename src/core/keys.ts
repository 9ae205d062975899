import { quotedValue } from '../errors.ts'
import { wrongUseError } from './options.ts'

/** Every key of a consumer. All lie in the stream's hash slot, so that one script may touch them together; dead letters may lie in another where `allowOtherSlot` says so. */
export interface ConsumerKeys {
  readonly stream: string
  /** Dead-letter stream. */
  readonly deadLetters: string
  /** Sorted set of what comes back at a time: entry id → server time in ms × 1,024 + its delivery count. What was taken stays in it until its outcome is stored. */
  readonly due: string
  /** Sorted set of what waits for a condition, by which it is found: the condition, the entry's id and its delivery count. */
  readonly waiting: string
  /** Hash: the claimer's `cursor`, the `mark` at which a lost group is made again, what was taken last, and what firsts of ordering keys failed with. */
  readonly state: string
  /** The flag of publishers: while it stands, none of them wakes a poller. */
  readonly wake: string
  /** When a claimer comes next for what is due, in milliseconds since 1970: a string. While it stands nobody wakes another for the same. */
  readonly nextClaim: string
  /** What somebody paused of the group: a string of JSON. Without it nothing is paused. */
  readonly paused: string
  /** The lease of a slot: a string holding its owner's token. */
  slot(consumerName: string): string
  /** The circuit breakers that are open: a hash, as `gates.ts` says. Without a field of its event type, a breaker is closed. */
  readonly breakers: string
  /** Failures of an event type within the window of its circuit breaker: a sorted set, entry id and delivery count → server time in ms. */
  failures(eventType: string): string
  /** When the next turn of a rate limit is: a hash, gone once the limit is idle. */
  rate(name: string): string
  /** Who holds places of a concurrency limit: a hash, gone once nobody does. */
  places(name: string): string
  /** What is known of an event, by its id or what else names it: a string, whether an entry of it is held or was handled, and the id of that. */
  marker(event: string): string
}

/** The consumer name that owns what is set aside, until an index says that it comes back. */
export const PARKED_CONSUMER = 'parked'

/** The consumer name of what no index could take: it comes back by its age, and is no suspect. */
export const AGING_CONSUMER = 'aging'

/**
 * The keys of a group: `{orders}:billing:dlq` and so on. A stream whose name carries a hash tag keeps its name as it is:
 * `{shop}:orders` gives `{shop}:orders:billing:dlq`. A colon or percent sign in the group's name is written as in a URL, so that no
 * two groups share a key.
 *
 * @throws {TypeError} No hash tag gives the slot of that name.
 */
export function consumerKeys(stream: string, group: string, deadLetters?: string): ConsumerKeys {
  const prefix = `${slotPrefix(stream)}:${group.replace(/[%:]/g, encodeURIComponent)}`
  return {
    stream,
    deadLetters: deadLetters ?? `${prefix}:dlq`,
    due: `${prefix}:due`,
    waiting: `${prefix}:waiting`,
    state: `${prefix}:state`,
    wake: `${prefix}:wake`,
    nextClaim: `${prefix}:next-claim`,
    paused: `${prefix}:paused`,
    slot: (consumerName) => `${prefix}:slot:${consumerName}`,
    marker: (event) => `${prefix}:event:${event}`,
    breakers: `${prefix}:breakers`,
    failures: (eventType) => `${prefix}:failures:${eventType}`,
    rate: (name) => `${prefix}:rate:${name}`,
    places: (name) => `${prefix}:places:${name}`,
  }
}

/** What stands for the streams of a set in the keys that they share: their names without the priority, which no stream of a set has. @param name The set's. */
export function sharedStream(name: string): string {
  return `${slotPrefix(name)}:`
}

/** A consumer's keys with those of flow control, which all streams of its set share: `{jobs}::work:breakers` and so on. */
export function withGatesOfSet(keys: ConsumerKeys, set: string, group: string): ConsumerKeys {
  const shared = consumerKeys(sharedStream(set), group)
  return {
    ...keys,
    breakers: shared.breakers,
    failures: (eventType) => shared.failures(eventType),
    rate: (name) => shared.rate(name),
    places: (name) => shared.places(name),
  }
}

/** Whether a key is one of the consumer's own: its stream, what lies beside the group, a lease or a marker. */
export function isKeyOfConsumer(keys: ConsumerKeys, key: string): boolean {
  const prefixes = [keys.slot(''), keys.marker(''), keys.failures(''), keys.rate(''), keys.places('')]
  return Object.values(keys as object).includes(key) || prefixes.some((own) => key.startsWith(own))
}

/** Whether a key is one of the stream's, whatever the group: of its delayed events, of its publishers, of its registry and janitor. */
export function isKeyBesideStream(stream: string, key: string): boolean {
  const { delayed } = delayKeys(stream)
  const prefixes = ['published', 'aggregate', 'stream'].map((word) => publisherPrefix(stream, word))
  return key === delayed || [`${delayed}:`, ...prefixes].some((own) => key.startsWith(own))
}

/** Whether a consumer's dead letters lie in another hash slot than the rest of its keys, which no cluster takes. */
export function isInOtherSlot({ stream, deadLetters }: ConsumerKeys): boolean {
  return hashSlot(deadLetters) !== hashSlot(stream)
}

/** Where a stream's delayed events are kept, in its hash slot. No group shares one of these keys: its own have other endings. */
export interface DelayKeys {
  readonly stream: string
  /** Sorted set: event id → when it is due, in milliseconds since 1970. What cannot be read stands above 9e15. */
  readonly delayed: string
  /** Hash: event id → its record, and under `''` the stream that the keys belong to. */
  readonly events: string
  /** Text: when the first of them is due; absent where nothing is delayed. */
  readonly next: string
  /** Two hashes, used in turn each hour: event id → how it ended, and under `''` the hour. What was there two hours ago is dropped. */
  readonly ended: readonly [string, string]
}

/**
 * The keys of a stream's delayed events: `{orders}:delayed` and so on.
 *
 * @throws {TypeError} No hash tag gives the slot of that name.
 */
export function delayKeys(stream: string): DelayKeys {
  const delayed = `${slotPrefix(stream)}:delayed`
  return {
    stream,
    delayed,
    events: `${delayed}:events`,
    next: `${delayed}:next`,
    ended: [`${delayed}:ended:0`, `${delayed}:ended:1`],
  }
}

/**
 * The marker of an event id that a stream has been given within its window: `{orders}::published::e-1`. Behind `published:` stands by what the stream differs from others of its
 * hash tag: nothing for `orders`, `%` for `{orders}`, `%%3Aarchive` for `{orders}:archive`. Behind the name of a group stands a word, so that no group shares the key, whatever
 * the names: only a stream whose own name begins with `{orders}::published` could.
 *
 * @throws {TypeError} No hash tag gives the slot of that name.
 */
export function publishedKey(stream: string, eventId: string): string {
  return `${publisherPrefix(stream, 'published')}${eventId}`
}

/**
 * The versions of an aggregate of a stream: `{orders}::aggregate::order:o-1`, and `{orders}::aggregate:::` where the stream itself is the aggregate. A sorted set of its events' entry
 * ids, each with the event's version. Named as `publishedKey` names, so that no group and no other stream shares the key.
 *
 * @throws {TypeError} No hash tag gives the slot of that name.
 */
export function aggregateKey(stream: string, aggregateType = '', aggregateId = ''): string {
  return `${publisherPrefix(stream, 'aggregate')}${encodeURIComponent(aggregateType)}:${aggregateId}`
}

/** What lies beside a stream for whoever watches over it, in its hash slot. No group and no other stream shares one of these keys. */
export interface KeepingKeys {
  /** Hash: group name → its registration, as JSON. */
  readonly groups: string
  /** Hash: what a janitor has noted: its lease, the range in hand, what was archived and trimmed, who blocks. */
  readonly janitor: string
  /** Hash: a name → the id from which on its owner needs the stream's entries. */
  readonly floors: string
}

/**
 * The keys of a stream's registry and of its janitor: `{orders}::stream::groups` and so on, named as `publishedKey` names.
 *
 * @throws {TypeError} No hash tag gives the slot of that name.
 */
export function keepingKeys(stream: string): KeepingKeys {
  const prefix = publisherPrefix(stream, 'stream')
  return { groups: `${prefix}groups`, janitor: `${prefix}janitor`, floors: `${prefix}floors` }
}

/** What a key begins with that publishers keep of one stream. */
function publisherPrefix(stream: string, word: string): string {
  const tag = hashTag(stream)
  const prefix = tag === stream ? slotPrefix(stream) : `{${tag}}`
  return `${prefix}::${word}:${ownName(stream, tag)}:`
}

/** A stream's name without its hash tag, as in a URL: without a colon, and of no other stream with that tag. */
function ownName(stream: string, tag: string): string {
  if (tag === stream) return ''
  const text = stream.toWellFormed()
  const at = stream.indexOf('{')
  const [before, after] = [text.slice(0, at), text.slice(at + tag.length + 2)].map(encodeURIComponent)
  return before ? `%${before}{}${after}` : `%${after}`
}

/**
 * Whether keys belong to a stream, by the owner that they name: streams `orders` and `{orders}` would share them. The owner is named as the
 * server sees it, with the client's `keyPrefix` before it if it has one.
 */
export function isOwnedBy(stream: string, owner: string): boolean {
  return owner.endsWith(stream)
}

/** What Redis Cluster hashes of a key: what stands between the first `{` and the first `}` after it, if anything, else all of it. */
export function hashTag(key: string): string {
  const open = key.indexOf('{')
  const close = key.indexOf('}', open + 1)
  return open >= 0 && close > open + 1 ? key.slice(open + 1, close) : key
}

/** The hash slot of a key, 0 to 16,383, as `CLUSTER KEYSLOT` answers it. */
export function hashSlot(key: string): number {
  let crc = 0
  for (const byte of Buffer.from(hashTag(key))) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc % 16_384
}

/**
 * What a key begins with that lies in the stream's hash slot.
 *
 * @throws {TypeError} No hash tag gives the slot of that name.
 */
export function slotPrefix(stream: string): string {
  if (hashTag(stream) !== stream) return stream
  if (!stream.includes('}')) return `{${stream}}`
  throw wrongUseError(
    `name keys for stream ${quotedValue(stream)}`,
    'a name with "}" must carry a hash tag that is not empty, as in "{shop}:orders"; otherwise no other key can share its hash slot',
  )
}

/** What a key in the stream's hash slot looks like, for messages. */
export function exampleInSlot(stream: string): string {
  return quotedValue(`${slotPrefix(stream)}:…`)
}
