import { now } from './time.ts'

/** What is done to the processes, their connections, the server, or the group. */
export type FaultKind =
  | 'process killed'
  | 'process frozen'
  | 'server killed'
  | 'server restarted'
  | 'connection severed'
  | 'connection stalled'
  | 'group paused'
  | 'type paused'
  | `cut ${'before' | 'after'} ${CutCommand}`

/** Commands whose connection is cut before the server sees them, or after it and before the reply. */
export type CutCommand = 'xreadgroup' | 'evalsha' | 'xack' | 'xadd'

/** A fault; one of a moment begins and ends at the same time. */
export interface Fault {
  readonly kind: FaultKind
  /** Which seat it hit; `undefined`: the server, and so everybody. */
  readonly seat: number | undefined
  readonly from: number
  /** `Infinity` while it lasts. */
  readonly to: number
}

/** Every fault, as it was injected. */
export class Journal {
  readonly #faults: { kind: FaultKind; seat: number | undefined; from: number; to: number }[] = []

  get faults(): readonly Fault[] {
    return this.#faults
  }

  /** @returns To be called when it is over. */
  begin(kind: FaultKind, seat?: number): () => void {
    const fault = { kind, seat, from: now(), to: Number.POSITIVE_INFINITY }
    this.#faults.push(fault)
    return () => {
      fault.to = now()
    }
  }

  moment(kind: FaultKind, seat?: number): void {
    this.begin(kind, seat)()
  }
}
