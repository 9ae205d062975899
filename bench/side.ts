import type { Measured } from './measure.ts'
import { measure } from './measure.ts'
import { profiled } from './profiled.ts'
import { SIDES, type SideName } from './sides.ts'

/** What a parent asks a side's process for. */
export interface SideRequest {
  readonly round: string
  readonly count: number
  /** A file for a CPU profile of the run. */
  readonly profileTo?: string | undefined
}

export type SideAnswer = { readonly measured: Measured } | { readonly failure: string }

/** A side's process: it runs what its parent asks for, one run at a time, and answers what each cost. */
const [name, url, adminUrl] = process.argv.slice(2) as [SideName, string, string]
const contender = await SIDES[name].create({ url, adminUrl })
const startBytes = process.memoryUsage.rss()

process.on('message', (request: SideRequest) => void answer(request).then((told) => process.send?.(told)))
process.on('disconnect', () => void contender.close())

async function answer({ round, count, profileTo }: SideRequest): Promise<SideAnswer> {
  try {
    const around = profileTo === undefined ? undefined : profiled(profileTo)
    return { measured: await measure(contender, adminUrl, round, count, startBytes, around) }
  } catch (error) {
    return { failure: (error as Error).stack ?? String(error) }
  }
}
