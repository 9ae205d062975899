import { RedisReplyError } from '../../errors.ts'
import type { AnswerOrRefusal } from '../ask.ts'

/** Takes answers; of refusals it keeps the reason. */
export class UnknownFactsCollector {
  readonly reasons: Record<string, string> = {}

  /** The answer; `undefined` where nothing was asked, or where the server refused: then the reason is kept under that name. */
  read<T>(name: string, told: AnswerOrRefusal<T> | undefined): T | undefined {
    if (told === undefined) return undefined
    return 'value' in told ? told.value : this.keep<T>(name, told.refusal)
  }

  /** What was read already; `undefined`, and the reason kept under that name, where it is a refusal. */
  keep<T>(name: string, read: T | RedisReplyError): T | undefined {
    if (!(read instanceof RedisReplyError)) return read as T
    this.reasons[name] = read.message
    return undefined
  }
}
