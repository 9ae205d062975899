import { openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Report } from 'millrace'
import { now } from './time.ts'

/** The numbers of a report. */
export type ReportNumbers = Omit<Report, 'consumers'>

/** What a process notes of itself, before it goes on. */
export type Note =
  | { readonly note: 'invoked'; readonly invocation: number }
  | { readonly note: 'ended'; readonly invocation: number; readonly report?: ReportNumbers; readonly failure?: string }
  | {
      readonly note: 'started'
      readonly call: number
      readonly invocation: number
      readonly entryId: string
      readonly deliveryCount: number
    }
  | { readonly note: 'succeeded'; readonly call: number }
  | { readonly note: 'failed'; readonly call: number; readonly waitMs: number; readonly timedOut: boolean }
  /** A poison is about to end the process, or to block it for good. */
  | { readonly note: 'dying'; readonly how: string }
  /** The event loop stood still from then until the note. */
  | { readonly note: 'stood'; readonly from: number }

export type DatedNote = Note & { readonly at: number }

const EXTENSION = '.jsonl'

/** A process's own file: each note is with the system before the next step is taken, so that no kill loses it. */
export class Notebook {
  readonly #file: number

  constructor(dir: string, worker: string) {
    this.#file = openSync(join(dir, worker + EXTENSION), 'a')
  }

  write(note: Note): void {
    writeSync(this.#file, `${JSON.stringify({ at: now(), ...note })}\n`)
  }
}

/** What every process noted, by its name. @param kind What the names begin with. */
export function readNotes(
  dir: string,
  kind: 'worker' | 'ordered' = 'worker',
): ReadonlyMap<string, readonly DatedNote[]> {
  const files = readdirSync(dir).filter((name) => name.startsWith(`${kind}-`) && name.endsWith(EXTENSION))
  return new Map(files.map((name) => [basename(name, EXTENSION), parseNotes(readFileSync(join(dir, name), 'utf8'))]))
}

// what follows the last line's end is a note that a kill cut short
function parseNotes(text: string): DatedNote[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as DatedNote)
}
