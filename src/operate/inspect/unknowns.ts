import type { Told } from '../ask.ts'

/** Takes answers; of refusals it keeps the reason. */
export class Unknowns {
  readonly reasons: Record<string, string> = {}

  /** The answer; `undefined` where nothing was asked, or where the server refused: then the reason is kept under that name. */
  read<T>(name: string, told: Told<T> | undefined): T | undefined {
    if (told === undefined) return undefined
    if ('value' in told) return told.value
    this.reasons[name] = told.refusal.message
    return undefined
  }
}
