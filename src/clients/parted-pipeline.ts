import { splitIntoChunks } from '../core/chunks.ts'
import type { RedisCommand } from '../group/redis/transport.ts'
import type { IoredisClient, IoredisPipeline } from './ioredis-client.ts'

/** What a command came to, as ioredis has it; `undefined`: nothing came. */
export type PipelineResult = readonly [error: Error | null, result?: unknown] | undefined

export type Results = readonly PipelineResult[]

/** Commands that were put together, for one server or several. */
export interface Sending {
  exec(): Promise<Results | null>
}

/** Commands of a part: worth a write of its own, which takes some ten microseconds. */
export const PART = 125

/**
 * A pipeline in parts, one behind the other on the same connection: the server carries out the first while the next is put together, which takes a client
 * longer. None waits for an answer, unless a write finds the connection gone.
 */
export class PartedPipeline implements Sending {
  readonly #parts: readonly (readonly RedisCommand[])[]
  readonly #put: (part: readonly RedisCommand[]) => IoredisPipeline
  readonly #client: Pick<IoredisClient, 'stream'>
  readonly #sent: IoredisPipeline[] = []

  /** @param put Puts commands on the client. */
  constructor(
    commands: readonly RedisCommand[],
    put: (part: readonly RedisCommand[]) => IoredisPipeline,
    client: Pick<IoredisClient, 'stream'>,
  ) {
    this.#parts = splitIntoChunks(commands, PART)
    this.#put = put
    this.#client = client
  }

  /** What came by now, each in the place of its command; named as in ioredis. */
  get _result(): Results {
    return this.#sent.flatMap((pipeline, n) => {
      const results = answeredOf(pipeline)
      return Array.from(this.#parts[n] ?? [], (_command, at) => results[at])
    })
  }

  async exec(): Promise<Results> {
    const ends: Promise<Results | null>[] = []
    for (const part of this.#parts) {
      const { stream } = this.#client
      const wasWritable = stream?.writable
      ends.push(this.#send(part))
      // its write has found the connection gone: the client may send that again, or not, what is behind it anew, or not at all
      if (wasWritable && !stream?.writable && !(await Promise.all(ends)).flat().every(isAnswered)) break
    }
    const parts = await Promise.all(ends)
    this.#sent.forEach(letGo)
    return parts.flatMap((results) => results ?? [])
  }

  #send(part: readonly RedisCommand[]): Promise<Results | null> {
    const pipeline = this.#put(part)
    numberFrom(pipeline, this.#sent.length * PART)
    this.#sent.push(pipeline)
    return pipeline.exec()
  }
}

/** What ioredis reads of a pipeline's commands, and of each of them. */
interface Sent {
  pipelineIndex?: number
  args: unknown
}

function sentBy(pipeline: object): readonly Sent[] {
  const commands: unknown = Reflect.get(pipeline, '_queue')
  return Array.isArray(commands) ? commands : []
}

/**
 * Counts the commands of a part on from those before it. A lost connection has ioredis send a pipeline again unless some of it was answered, which it knows by a
 * first number that is not 0: the parts are one pipeline to it, or those behind an answer would be carried out twice, or without what is before them.
 */
function numberFrom(pipeline: object, first: number): void {
  let index = first
  for (const command of sentBy(pipeline)) command.pipelineIndex = index++
}

/**
 * Has the commands of a pipeline that the server answered hold their arguments no longer: V8 makes ioredis's functions of a command so that they, and all that the
 * command holds, live until the next full garbage collection.
 */
export function letGo(pipeline: object): void {
  const commands = sentBy(pipeline)
  // parts have let go of theirs
  if (commands.length === 0) return
  const results = answeredOf(pipeline)
  let at = 0
  // one whose `commandTimeout` was over may be sent yet
  for (const command of commands) if (isAnswered(results[at++])) command.args = []
}

/** By the server, be it with an error. */
function isAnswered(result: PipelineResult | null): boolean {
  return !!result && (!result[0] || result[0].name === 'ReplyError')
}

/** What a pipeline has by now; it answers only when all of it came, and one reply may be lost among others. */
export function answeredOf(pipeline: object | undefined): Results {
  const results: unknown = pipeline && Reflect.get(pipeline, '_result')
  return Array.isArray(results) ? results : []
}
