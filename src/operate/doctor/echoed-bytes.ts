import { replyItems } from '../../group/redis/commands/reply.ts'
import type { LuaScript } from '../../group/redis/scripts/script.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { ServerQuestion } from '../ask.ts'

/** How what was sent came back. */
export interface EchoedBytes {
  readonly key: string
  /** The key as the server saw it; `undefined` if that is spoiled, too. */
  readonly keySeen: string | undefined
  /** What is not as it was sent: the text, or the name of what it stood for. */
  readonly spoiled: readonly string[]
}

/** Reads and writes nothing: KEYS holds a key since some servers run no script without. */
const echo: LuaScript = { keyCount: 1, lua: 'return {KEYS[1], ARGV}' }

/** What clients were seen to parse, round, trim or merge; the last four are two fields of one name. */
const TEXTS = ['42', '1.0', 'true', 'null', '{"a":1}', '12345678901234567890', '\uFEFFa', ' a ', '', 'a', '1', 'a', '2']

/** Bytes that are no text; where texts come back as strings, as over REST, they cannot. */
const BYTES = Buffer.from([0xff, 0x00, 0xfe])

export function echoedBytesQuestion(key: string): ServerQuestion<EchoedBytes> {
  return {
    call: { script: echo, keys: [key], args: [...TEXTS, BYTES] },
    right: '+eval +evalsha',
    read: (reply) => readEcho(key, reply),
  }
}

function readEcho(key: string, reply: RedisReply): EchoedBytes {
  const [keySeen, values] = replyItems(reply)
  const came = replyItems(values)
  const spoiled = TEXTS.filter((text, at) => text !== (isText(came[at]) ? came[at].toString() : undefined))
  const bytes = came[TEXTS.length]
  if (Buffer.isBuffer(bytes) && !bytes.equals(BYTES)) spoiled.push('bytes that are no text')
  return { key, keySeen: isText(keySeen) ? keySeen.toString() : undefined, spoiled }
}

function isText(reply: RedisReply | undefined): reply is Buffer | string {
  return typeof reply === 'string' || Buffer.isBuffer(reply)
}
