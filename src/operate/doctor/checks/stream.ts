import { parseEntryId } from '../../../core/entry.ts'
import { formatCount, formatDurationRoughly } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import { errorResult, infoResult, warningResult } from '../finding.ts'
import { quoteForShell } from '../text.ts'

/** There must be a stream, and it must stay. */
export const streamCheck = defineCheck({
  check: 'stream',
  scope: 'stream',
  needs: ['stream'],
  look({ stream: found }, { stream: key, ours }) {
    if (found === 'another type')
      return [
        errorResult(
          `Key ${quotedValue(key)} holds no stream`,
          `name another stream, or remove it: DEL ${quoteForShell(key)}`,
        ),
      ]
    if (found === 'missing')
      return [
        infoResult(
          `There is no stream ${quotedValue(key)} yet`,
          `publish something, or compare the name with the publisher’s: millrace status lists the streams that there are${ours.size > 0 ? '' : '; a set of streams needs --priorities, too'}`,
        ),
      ]
    return []
  },
})

/** A key that expires takes the groups along. */
export const streamExpiryCheck = defineCheck({
  check: 'expiry',
  scope: 'stream',
  needs: ['ttlMs'],
  look({ ttlMs }, { stream: key }) {
    if (ttlMs === undefined) return []
    return [
      errorResult(
        `The stream is gone in ${formatDurationRoughly(ttlMs)}, with its groups and all that is pending`,
        `PERSIST ${quoteForShell(key)}`,
      ),
    ]
  },
})

/** What the server's clock and a writer's may differ by. */
const SKEW_MS = 60_000

/** An id of the future makes every later one as high: nothing is known by ids any more. */
export const idsAheadOfClockCheck = defineCheck({
  check: 'ids-ahead',
  scope: 'stream',
  needs: ['stream'],
  look({ stream: found }, { now, stream: key }) {
    if (typeof found === 'string') return []
    const aheadMs = Number(parseEntryId(found.lastGeneratedId).ms) - now
    if (aheadMs < SKEW_MS) return []
    return [
      warningResult(
        `The ids are ${formatDurationRoughly(aheadMs)} ahead of the server's clock: ages are left out of metrics, so that alarms on them stay silent, and retentionMs trims nothing until then`,
        `set the server's clock right, or, if somebody wrote such an id (${found.lastGeneratedId}), publish into another stream: ids of ${quoteForShell(key)} never go back`,
      ),
    ]
  },
})

const SHOWN = 20

/** Groups that nobody given here polls. */
export const otherGroupsCheck = defineCheck({
  check: 'other-groups',
  scope: 'stream',
  needs: ['groups'],
  look({ groups }, { stream: key, ours }) {
    if (ours.size === 0) return []
    const others = groups.filter(({ name }) => !ours.has(name)).slice(0, SHOWN)
    return others.map(({ name, pending, lag }) =>
      infoResult(
        `Group ${quotedValue(name)} belongs to none of the consumers that were given: ${formatCount(pending, 'entry', 'entries')} pending, ` +
          `${lag === undefined ? 'an unknown number' : formatCount(lag, 'entry', 'entries')} not read; what trims by the slowest group waits for it`,
        `give its consumer as well, or, if nobody needs it, XGROUP DESTROY ${quoteForShell(key)} ${quoteForShell(name)}`,
      ),
    )
  },
})
