import { compareEntryIds, parseEntryId } from '../../core/entry.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'
import type { ResolvedAnalyzeOptions } from './options.ts'

/** What of a stream is read. */
export interface AnalyzedRange {
  /** Ids, both included; `-` and `+` are the ends of the stream. */
  readonly from: string
  readonly to: string
  /** The times that entries can have which are in it. */
  readonly firstMs: number
  readonly lastMs: number
  /** Entries that it has, where they are all of the stream's and the server reports it. */
  readonly length: number | undefined
}

/** The range that was asked for, as far as the stream goes; what is added later is left out. */
export function rangeToAnalyze(
  { from, to, lastMs }: ResolvedAnalyzeOptions,
  { at, info }: { readonly at: number; readonly info: StreamInfo | undefined },
): AnalyzedRange {
  const start = lastMs === undefined ? from : BigInt(Math.max(0, Math.floor(at - lastMs))).toString()
  const end = earlier(to, info?.lastId)
  const firstMs = Math.max(msOf(start) ?? 0, msOf(info?.firstId) ?? 0)
  return {
    from: start ?? '-',
    to: end ?? '+',
    firstMs,
    lastMs: Math.max(firstMs, msOf(end) ?? at),
    length: start === undefined && to === undefined ? info?.length : undefined,
  }
}

function earlier(to: string | undefined, lastId: string | undefined): string | undefined {
  if (to === undefined || lastId === undefined) return to ?? lastId
  return compareEntryIds(to, lastId) < 0 ? to : lastId
}

function msOf(id: string | undefined): number | undefined {
  return id === undefined ? undefined : Number(parseEntryId(id).ms)
}
