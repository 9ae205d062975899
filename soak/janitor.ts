import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import type { ArchiveRange } from 'millrace/janitor'
import { runJanitor } from 'millrace/janitor'
import type { Random } from '../demo/random.ts'
import { GROUP, STREAM } from './settings.ts'

/** Between two runs. */
const PAUSE_MS = 300
/** Of so many calls the archive refuses one, before or after it has the range. */
const REFUSES_ONE_OF = 5
/** A run's lease outlasts it by five seconds where its server dies. */
const REMAINING_MS = 6_000
const TARGET = { stream: STREAM, groups: { [GROUP]: { owner: 'soak' } } }

/** Entries as a server answers them: the id, then names and values in turn. */
type RawEntry = [id: string, fields: string[]]

/** A janitor that trims the stream while everything else is at work, into an archive in memory. */
export class SoakJanitor {
  readonly #redis: Connection
  readonly #random: Random
  readonly #objects = new Map<string, RawEntry[]>()
  readonly #over = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #refused = 0

  static start(url: string, random: Random): SoakJanitor {
    const janitor = new SoakJanitor(url, random)
    janitor.#running = janitor.#loop()
    return janitor
  }

  private constructor(url: string, random: Random) {
    this.#redis = connectIoredis(url)
    this.#random = random
  }

  /** Entries of the archive, each as often as an object has it. */
  get entries(): readonly RawEntry[] {
    return [...this.#objects.values()].flat()
  }

  /** Stops, and trims what is left once more. @throws {Error} An entry is in two objects of the archive, or the last run fails. */
  async finish() {
    await this.#end()
    let report = await this.#run(false)
    // the lease of a run that died
    for (let looks = 0; report.streams[0]?.busy && looks < 60; looks++) {
      await sleep(500)
      report = await this.#run(false)
    }
    const ids = this.entries.map(([id]) => id)
    if (new Set(ids).size < ids.length) throw new Error(`${ids.length - new Set(ids).size} entries are archived twice`)
    if (report.trimmedAhead > 0) throw new Error(`${report.trimmedAhead} entries were trimmed ahead of the group`)
    return { archived: ids.length, objects: this.#objects.size, kept: report.kept, refused: this.#refused }
  }

  async stop(): Promise<void> {
    await this.#end()
    await this.#redis.close()
  }

  async #end(): Promise<void> {
    this.#over.abort()
    await this.#running
  }

  async #loop(): Promise<void> {
    const { signal } = this.#over
    while (!signal.aborted) {
      await this.#run(true).catch(() => {
        this.#refused++
      })
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
    }
  }

  #run(refuses: boolean) {
    const refuse = () => {
      if (refuses && this.#random.integer(0, 2 * REFUSES_ONE_OF) === 0) throw new Error('the archive refuses')
    }
    const archive = async ({ name, entries }: ArchiveRange) => {
      refuse()
      if (!this.#objects.has(name))
        this.#objects.set(
          name,
          entries.map(({ id, fields }) => [id, fields.flat().map(String)]),
        )
      refuse()
    }
    const { signal } = this.#over
    return runJanitor(TARGET, {
      redis: this.#redis,
      archive,
      rangeEntries: 50,
      remainingMs: REMAINING_MS,
      ...(refuses && { signal }),
    })
  }
}
