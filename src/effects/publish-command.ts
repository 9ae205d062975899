import type { ConsumerKeys } from '../core/keys.ts'
import { assertKnownOptions, wrongUseError } from '../core/options.ts'
import type { JoinedCommand } from '../core/outcome.ts'
import { assertEventDefinition } from '../define/event.ts'
import { quotedValue } from '../errors.ts'
import type { StreamTrim } from '../group/connection.ts'
import { encodeEvent, type Upload } from '../publish/encode-events.ts'
import type { Publication } from '../publish/publication.ts'
import { checkPublication } from '../publish/publication.ts'
import { settingsOf } from '../publish/publishing.ts'
import { checkStream } from './arguments.ts'

const OPTIONS = [
  'eventId',
  'aggregateType',
  'aggregateId',
  'tenantId',
  'occurredAt',
  'traceparent',
  'attributes',
  'priority',
]

/**
 * The command that appends an event as its publisher would. By age it says for how long an entry is kept, and the script by which id that is.
 *
 * @param eventId Unless the options have one.
 * @param keep Is given what has to be kept before the entry may be there.
 * @throws {TypeError | RangeError} No publisher, one of another hash slot, an event that would be delayed, or a schema that does not answer at once.
 */
export function publishCommand(
  keys: ConsumerKeys,
  publisher: unknown,
  [event, payload, options = {}]: Publication,
  eventId: string,
  keep: (upload: Upload) => void,
): JoinedCommand {
  assertEventDefinition('publish as an effect', event)
  const action = `publish ${quotedValue(event.type)} as an effect`
  const settings = typeof publisher === 'object' && publisher !== null ? settingsOf(publisher) : undefined
  if (!settings) throw wrongUseError(action, 'its publisher must be the very object that createPublisher made')
  const wrong = ['delayMs', 'deliverAt', 'deduplicateMs'].find((name) => Object.hasOwn(options ?? {}, name))
  if (wrong !== undefined)
    throw wrongUseError(action, `${wrong} must be left out: an effect takes place at once, and once`)
  if (Object.hasOwn(options ?? {}, 'expectedVersion'))
    throw wrongUseError(
      action,
      'expectedVersion must be left out: publish it in the handler itself, in one step with an event of an aggregate that its idempotencyKey names',
    )
  if (settings.deduplicateMs !== undefined)
    throw wrongUseError(
      action,
      'its publisher must have no deduplicateMs: an effect takes place once, and leaves no marker',
    )
  assertKnownOptions(action, options, OPTIONS)
  for (const [name, text] of Object.entries(options))
    if (typeof text === 'string' && !text.isWellFormed())
      throw wrongUseError(action, `${name} must be text of whole characters`)
  const draft = checkPublication(action, [event, payload, options], settings)
  checkStream(action, keys, draft.stream)
  const uploads: Upload[] = []
  const encoded = encodeEvent(action, settings, { ...draft, eventId: options.eventId ?? eventId }, uploads)
  if (encoded instanceof Promise)
    throw wrongUseError(action, 'its schema must answer at once: validate before, or publish without effects')
  uploads.forEach(keep)
  return ['XADD', draft.stream, ...trimArguments(settings.trim), '*', ...encoded.flat()]
}

function trimArguments(trim: StreamTrim): readonly (string | number)[] {
  if (trim.kind === 'none') return []
  const how = trim.exact ? '=' : '~'
  return trim.kind === 'length' ? ['MAXLEN', how, trim.maxLength] : ['MINID', how, trim.retentionMs]
}
