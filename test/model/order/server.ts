import type { Connection, Consumer } from 'millrace'
import { RedisConnectionError } from 'millrace'
import type { Chance } from './chance.ts'
import type { ModelTime } from './model-time.ts'
import type { Fault, Process } from './process.ts'

/** What a server holds. */
export interface Sight {
  readonly hasGroup: boolean
  readonly pending: ReadonlyMap<string, { readonly owner: string; readonly count: number }>
  /** Tokens of leases by consumer name. */
  readonly leases: ReadonlyMap<string, string>
  readonly ids: ReadonlySet<string>
  /** Entries in the stream that the group has not read. */
  readonly unread: number
}

export interface SeenLetter {
  readonly entryId: string
  readonly reason: string
}

/** One write of commands, or what does in memory as they do. */
export interface Request<Reply> {
  readonly label: string
  readonly parts: number
  /** Its client may send it again, because the connection broke. */
  readonly resends: boolean
  /** @returns What each part from the one on, up to the other, answers. */
  carryOut(from: number, to: number): Promise<readonly unknown[]>
  /** What its caller gets. @param lost What kept the other parts from being answered. */
  reply(answers: readonly unknown[], lost?: RedisConnectionError): Reply
}

/** How requests fare. */
export interface Network {
  readonly time: ModelTime
  readonly chance: Chance
  /** What becomes of a request of that process, if anything does. */
  fault(process: Process, label: string): Fault | undefined
  note(line: string): void
  /** What a request has changed. Left out: nobody wants to know. */
  traced?(line: string): Promise<void>
}

/** A server, and what a test does to it from outside. */
export interface OrderServer {
  add(id: string, fields: Readonly<Record<string, string>>): Promise<void>
  look(): Promise<Sight>
  letters(): Promise<readonly SeenLetter[]>
  /** What is left, to be read by people. */
  left(): Promise<string>
  /** @returns Ids of the entries that were. */
  redrive(consumer: Consumer): Promise<readonly string[]>
  /** Dead letters are dropped, or go by hand. */
  drop(consumer: Consumer, byHand: boolean): Promise<void>
  loseGroup(): Promise<void>
  trim(count: number): Promise<void>
  delete(id: string): Promise<void>
  /** From now on its memory is full, or not any more. Left out where it never is. */
  full?(isFull: boolean): Promise<void>
  /** Entries that were redriven and that no run can know of yet. */
  unplaced(ids: readonly string[]): Promise<readonly string[]>
  /** What a process talks by. */
  connect(process: Process): Connection
  /** What an operator talks by, from outside. */
  readonly outside: Connection
}

/** A request on its way: it and its answer take some time, and may be lost, in part or as a whole. */
export function send<T>(
  { time, chance, fault, note, traced }: Network,
  process: Process,
  { label, parts, resends, carryOut, reply }: Request<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const what = fault(process, label)
    const tell = (answers: readonly unknown[], lost?: RedisConnectionError) =>
      process.when(() => {
        try {
          resolve(reply(answers, lost))
        } catch (error) {
          reject(error)
        }
      })
    const answer = async () => {
      if (what === 'never') return
      const upTo = what === 'part' ? chance.int(0, parts - 1) : parts
      const heard = what === 'part' ? chance.int(0, upTo) : 0
      if (what === 'twice' && resends) await carryOut(0, parts)
      const answers = await carryOut(0, upTo)
      if (traced)
        await traced(
          `  ${process.name} ${label} => ${JSON.stringify(answers, (name, value) => (['fields', 'run', 'inOrder'].includes(name) ? undefined : value))}`,
        )
      if (what === undefined || what === 'twice') time.after(chance.int(0, 2), () => tell(answers))
      else if (what === 'part') tell(answers.slice(0, heard), lost())
    }
    if (what !== undefined) note(`${process.name}: ${label} ${what}`)
    if (what === 'unanswered' || what === 'never' || what === 'late')
      time.after(chance.of([1, 20, 1_000]), () => tell([], lost()))
    time.after(what === 'late' ? chance.of([5, 300, 4_000, 30_000]) : chance.int(0, 2), () => void answer())
  })
}

function lost(): RedisConnectionError {
  return new RedisConnectionError('Cannot reach Redis: no answer')
}
