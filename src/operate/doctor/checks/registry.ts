import { formatCount, formatDurationRoughly, formatNumber } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import { floorsKey, readNotes, readRegistry } from '../../inspect/keeping.ts'
import { lagFromStreamEnds } from '../../inspect/lag.ts'
import { defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, infoResult, warningResult } from '../finding.ts'
import { quoteForShell } from '../text.ts'

const DAY_MS = 86_400_000
/** For so long somebody may keep entries before it is worth knowing. */
const BLOCKS_MS = DAY_MS

/** Once groups are registered, each should be: a janitor waits for all of them. */
export const registryCheck = defineCheck({
  check: 'registry',
  scope: 'stream',
  needs: ['registry', 'groups'],
  look({ registry = {}, groups }, { stream }) {
    const registered = readRegistry(registry)
    const names = Object.keys(registered)
    if (names.length === 0) return []
    const unknown = groups.filter(({ name }) => !names.includes(name))
    const lost = names.filter((group) => !groups.some(({ name }) => name === group))
    const key = quoteForShell(stream)
    return [
      ...unknown.map(({ name }) =>
        warningResult(
          `Group ${quotedValue(name)} is not registered: nobody is known to answer for it, and janitors wait for it`,
          `millrace register ${key} ${quoteForShell(name)} --owner NAME, or, if nobody needs it, XGROUP DESTROY ${key} ${quoteForShell(name)}`,
        ),
      ),
      ...lost.map((group) =>
        warningResult(
          `Group ${quotedValue(group)} is registered, and there is no such group: janitors keep what is above its mark`,
          `its poller makes it when it next runs; if nobody needs it: millrace register ${key} ${quoteForShell(group)} --remove`,
        ),
      ),
      ...Object.keys(registry)
        .filter((group) => !names.includes(group))
        .map((group) =>
          warningResult(
            `The registration of group ${quotedValue(group)} cannot be read`,
            `millrace register ${key} ${quoteForShell(group)} --owner NAME`,
          ),
        ),
    ]
  },
})

/** What janitors noted: losses, and who keeps entries that are due to go. */
export const janitorCheck = defineCheck({
  check: 'janitor',
  scope: 'stream',
  needs: ['janitorNotes'],
  look({ janitorNotes = {} }, { stream, now }) {
    const notes = readNotes(janitorNotes, now)
    if (!notes) return []
    const found: CheckResult[] = Object.entries(notes.trimmedAhead).map(([group, entries]) =>
      errorResult(
        `${formatCount(entries, 'entry was', 'entries were')} trimmed or deleted before group ${quotedValue(group)} had done them, by somebody other than a janitor`,
        'leave maxLength and retentionMs out of the publishers of the stream, and trim by no hand: the janitor trims what is done',
      ),
    )
    const blocks = (who: string, ms: number, fix: string) => {
      if (ms < BLOCKS_MS) return
      found.push(warningResult(`${who} has kept entries from being trimmed for ${formatDurationRoughly(ms)}`, fix))
    }
    for (const [group, ms] of Object.entries(notes.blockers))
      blocks(
        `Group ${quotedValue(group)}`,
        ms,
        'see whether its poller and claimer run; a group that nobody needs can be removed, or ignored by ignoreGroups of the janitor',
      )
    for (const [name, ms] of Object.entries(notes.floors))
      blocks(
        `Floor ${quotedValue(name)}`,
        ms,
        name === 'keepFrom'
          ? 'see whether what keepFrom of the janitor answers goes on, as the snapshots that it is taken from'
          : `see whether its owner goes on, as who takes the snapshots; if nobody needs it: HDEL ${quoteForShell(floorsKey(stream))} ${quoteForShell(name)}`,
      )
    if (notes.withoutGroupsMs !== undefined)
      blocks(
        'That there is no group, and none is registered,',
        notes.withoutGroupsMs,
        `its pollers make groups when they next run; register those that are to come: millrace register ${quoteForShell(stream)} GROUP --owner NAME`,
      )
    if (notes.sinceRunMs >= DAY_MS)
      found.push(
        infoResult(
          `No janitor has run for ${formatDurationRoughly(notes.sinceRunMs)}`,
          'see its schedule and its Errors; without one the stream grows',
        ),
      )
    return found
  },
})

/** A group must be no further behind than it promises. */
export const objectiveCheck = defineCheck({
  check: 'objective',
  scope: 'group',
  needs: ['registry', 'groups', 'stream', 'pending', 'ahead'],
  look({ registry = {}, groups, stream, pending, ahead }, { group, now }) {
    const { owner, objective } = readRegistry(registry)[group] ?? {}
    if (!objective) return []
    const { maxLag = Infinity, maxAgeMs = Infinity } = objective
    const made = groups.find(({ name }) => name === group)
    const info = typeof stream === 'string' ? undefined : stream
    const byEnds = info && made && lagFromStreamEnds(made.lastDeliveredId, info)
    // servers count entries that were trimmed and not read as well; where they do not count, what comes next shows one at least
    const lag = byEnds ?? Math.min(info?.length ?? 0, made?.lag ?? (ahead === undefined ? 0 : 1))
    const ages = [pending.oldestId, ahead].flatMap((id) => (id === undefined ? [] : now - Number.parseInt(id, 10)))
    const ageMs = Math.max(0, ...ages)
    const fix = `ask its owner, ${owner}: poll faster (scaleOut, pollers, concurrency, batchSize), or fix what fails`
    return [
      ...(lag > maxLag
        ? [
            warningResult(
              `${formatCount(lag, 'entry waits', 'entries wait')} for the first delivery; the group's objective is ${formatNumber(maxLag)}`,
              fix,
            ),
          ]
        : []),
      ...(ageMs > maxAgeMs
        ? [
            warningResult(
              `The oldest entry that is not done is ${formatDurationRoughly(ageMs)} old; the group's objective is ${formatDurationRoughly(maxAgeMs)}`,
              fix,
            ),
          ]
        : []),
    ]
  },
})

/** A group that has something to do, and that nobody reads or claims for any more. */
export const deadGroupCheck = defineCheck({
  check: 'dead-group',
  scope: 'group',
  needs: ['registry', 'groups', 'consumers', 'stream'],
  look({ registry = {}, groups, consumers, stream }, { group, stream: key, now }) {
    const { owner } = readRegistry(registry)[group] ?? {}
    const made = groups.find(({ name }) => name === group)
    if (owner === undefined || !made || typeof stream === 'string') return []
    const isDone = made.pending === 0 && made.lastDeliveredId === stream.lastGeneratedId
    const idles = consumers.map(({ idleMs }) => idleMs)
    // one that nobody ever read is as old as what waits for it, at least
    const idleMs = Math.min(...(idles.length > 0 ? idles : [now - Number.parseInt(stream.lastGeneratedId, 10)]))
    if (isDone || idleMs < DAY_MS) return []
    return [
      errorResult(
        `Nobody has read or claimed for ${formatDurationRoughly(idleMs)}, though there is something to do: the group is dead`,
        `ask its owner, ${owner}; if nobody needs it: XGROUP DESTROY ${quoteForShell(key)} ${quoteForShell(group)}, and millrace register ${quoteForShell(key)} ${quoteForShell(group)} --remove`,
      ),
    ]
  },
})
