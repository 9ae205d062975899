import { parseEntryId } from '../../../core/entry.ts'
import { count, span } from '../../../core/words.ts'
import { quoted } from '../../../errors.ts'
import { check } from '../check.ts'
import { error, info, warning } from '../finding.ts'
import { word } from '../text.ts'

/** There must be a stream, and it must stay. */
export const stream = check({
  check: 'stream',
  scope: 'stream',
  needs: ['stream'],
  look({ stream: found }, { stream: key }) {
    if (found === 'another type')
      return [error(`Key ${quoted(key)} holds no stream`, `name another stream, or remove it: DEL ${word(key)}`)]
    if (found === 'missing')
      return [
        info(
          `There is no stream ${quoted(key)} yet`,
          'publish something, or compare the name with the publisher’s: millrace status lists the streams that there are',
        ),
      ]
    return []
  },
})

/** A key that expires takes the groups along. */
export const expiry = check({
  check: 'expiry',
  scope: 'stream',
  needs: ['ttlMs'],
  look({ ttlMs }, { stream: key }) {
    if (ttlMs === undefined) return []
    return [
      error(`The stream is gone in ${span(ttlMs)}, with its groups and all that is pending`, `PERSIST ${word(key)}`),
    ]
  },
})

/** What the server's clock and a writer's may differ by. */
const SKEW_MS = 60_000

/** An id of the future makes every later one as high: nothing is known by ids any more. */
export const idsAhead = check({
  check: 'ids-ahead',
  scope: 'stream',
  needs: ['stream'],
  look({ stream: found }, { now, stream: key }) {
    if (typeof found === 'string') return []
    const aheadMs = Number(parseEntryId(found.lastGeneratedId).ms) - now
    if (aheadMs < SKEW_MS) return []
    return [
      warning(
        `The ids are ${span(aheadMs)} ahead of the server's clock: ages are left out of metrics, so that alarms on them stay silent, and retentionMs trims nothing until then`,
        `set the server's clock right, or, if somebody wrote such an id (${found.lastGeneratedId}), publish into another stream: ids of ${word(key)} never go back`,
      ),
    ]
  },
})

const SHOWN = 20

/** Groups that nobody given here polls. */
export const otherGroups = check({
  check: 'other-groups',
  scope: 'stream',
  needs: ['groups'],
  look({ groups }, { stream: key, ours }) {
    if (ours.size === 0) return []
    const others = groups.filter(({ name }) => !ours.has(name)).slice(0, SHOWN)
    return others.map(({ name, pending, lag }) =>
      info(
        `Group ${quoted(name)} belongs to none of the consumers that were given: ${count(pending, 'entry', 'entries')} pending, ` +
          `${lag === undefined ? 'an unknown number' : count(lag, 'entry', 'entries')} not read; what trims by the slowest group waits for it`,
        `give its consumer as well, or, if nobody needs it, XGROUP DESTROY ${word(key)} ${word(name)}`,
      ),
    )
  },
})
