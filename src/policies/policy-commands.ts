import { COMMANDS_JOINABLE_TO_ACK } from '../core/joinable.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { exampleInSlot, hashSlot, isKeyOfConsumer } from '../core/keys.ts'
import { wrongUseError } from '../core/options.ts'
import type { JoinedCommand, ScriptQuestion } from '../core/outcome.ts'
import type { PolicyQuestion } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import { countJoinArguments, MAX_JOIN_ARGUMENTS } from '../group/redis/join-calls.ts'

/** Commands that a connection is not the same after, or that others wait for. */
const OF_THE_CONNECTION = /^(b[lrz](m?pop|move|poplpush)\w*|\w*subscribe|watch)$/

/** What is allowed on the consumer's own keys: nothing a promise hangs on. */
const ON_STREAM = ['xadd', 'xlen', 'xrange', 'xrevrange']

/**
 * Checks commands of a policy where they enter.
 *
 * @throws {TypeError} No commands; one without a key in the stream's hash slot, on a key of the consumer's own, or that is for a connection alone.
 */
export function checkPolicyCommands(keys: ConsumerKeys, commands: unknown): readonly JoinedCommand[] {
  if (!Array.isArray(commands)) throw wrongUseError('send commands', 'they must be an array of arrays')
  for (const command of commands as unknown[]) checkCommand(keys, command)
  return commands as readonly JoinedCommand[]
}

/** The same; scripts of this package may be among them. */
export function checkPolicyQuestions(keys: ConsumerKeys, questions: unknown): readonly PolicyQuestion[] {
  if (!Array.isArray(questions)) throw wrongUseError('send commands', 'they must be an array of arrays')
  const isCommand = (question: unknown) => !Array.isArray((question as Partial<ScriptQuestion> | null)?.keys)
  checkPolicyCommands(keys, questions.filter(isCommand))
  return questions as readonly PolicyQuestion[]
}

/** The same, and each must be one that may join: whatever it is refused for is known before the first of them is carried out. */
export function checkJoinedCommands(keys: ConsumerKeys, commands: unknown): readonly JoinedCommand[] {
  const joined = checkPolicyCommands(keys, commands)
  const kinds = new Map<string, string>()
  for (const [name, key, ...rest] of joined) {
    const action = `acknowledge with ${quotedValue(name)}`
    const lower = name.toLowerCase()
    const takes = Object.hasOwn(TAKES, lower) ? TAKES[lower] : undefined
    if (!takes) throw wrongUseError(action, `a command must be one of ${Object.keys(TAKES).join(', ')}`)
    if (!takes.isRight(rest.map(String))) throw wrongUseError(action, `after its key it must have ${takes.what}`)
    const kind = lower === 'set' ? 'string' : COMMANDS_JOINABLE_TO_ACK[lower]
    if (!kind) continue
    const known = kinds.get(String(key)) ?? kind
    if (known !== kind) throw wrongUseError(action, `a key must be of one type, got a ${known} and a ${kind}`)
    kinds.set(String(key), kind)
  }
  if (countJoinArguments(joined) > MAX_JOIN_ARGUMENTS)
    throw wrongUseError(
      'acknowledge with so much',
      `all commands of an entry must have at most ${MAX_JOIN_ARGUMENTS} arguments`,
    )
  return joined
}

function checkCommand(keys: ConsumerKeys, command: unknown): void {
  if (!Array.isArray(command))
    throw wrongUseError('send commands', 'each must be an array of its name, its key, and arguments')
  const [name, key] = command as unknown[]
  if (typeof name !== 'string' || !/^[\w.-]+$/.test(name))
    throw wrongUseError('send a command', 'its name must be a word')
  const action = `send ${quotedValue(name)}`
  const isArgument = (value: unknown) => typeof value === 'string' || Number.isFinite(value)
  if (!command.every(isArgument)) throw wrongUseError(action, 'its arguments must be strings or numbers')
  if (hashSlot(String(key)) !== hashSlot(keys.stream) || command.length < 2)
    throw wrongUseError(
      action,
      `its key must lie in the stream's hash slot, as ${exampleInSlot(keys.stream)}, got ${quotedValue(String(key))}`,
    )
  const lower = name.toLowerCase()
  if (OF_THE_CONNECTION.test(lower)) throw wrongUseError(action, 'others use its connection, too')
  if (isKeyOfConsumer(keys, String(key)) && !(key === keys.stream && ON_STREAM.includes(lower)))
    throw wrongUseError(action, `its key must not be one of the consumer's own, got ${quotedValue(String(key))}`)
}

/** What commands that join take after their key. */
const TAKES: Readonly<Record<string, { readonly what: string; isRight(args: readonly string[]): boolean }>> = {
  set: {
    what: 'a value, then NX or XX, and EX or PX with a whole number >= 1, if any',
    isRight: ([value, ...options]) => value !== undefined && SET_OPTIONS.test(options.join(' ')),
  },
  del: { what: 'nothing more', isRight: ({ length }) => length === 0 },
  pexpire: { what: 'a whole number', isRight: ([ms = '', ...more]) => more.length === 0 && /^-?\d{1,15}$/.test(ms) },
  sadd: { what: 'members', isRight: isSome },
  srem: { what: 'members', isRight: isSome },
  hset: { what: 'fields and values in turn', isRight: arePairs },
  hdel: { what: 'fields', isRight: isSome },
  zadd: {
    what: 'scores and members in turn',
    isRight: (args) => arePairs(args) && args.every((score, n) => n % 2 === 1 || isScore(score)),
  },
  zrem: { what: 'members', isRight: isSome },
  xadd: {
    what: '*, then names and values in turn; before it MAXLEN, = or ~, and a whole number, if any',
    isRight(args) {
      const at = args.indexOf('*')
      return XADD_BOUNDS.test(args.slice(0, Math.max(0, at)).join(' ')) && at >= 0 && arePairs(args.slice(at + 1))
    },
  },
}

const SET_OPTIONS = /^(?:(?:nx|xx)(?: (?:ex|px) [1-9]\d{0,14})?|(?:ex|px) [1-9]\d{0,14}(?: (?:nx|xx))?)?$/i
const XADD_BOUNDS = /^(?:maxlen (?:[=~] )?\d{1,15})?$/i

function isSome({ length }: readonly string[]): boolean {
  return length > 0
}

function arePairs({ length }: readonly string[]): boolean {
  return length > 0 && length % 2 === 0
}

function isScore(text: string): boolean {
  return /^[+-]?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d{1,2})?)$/i.test(text)
}
