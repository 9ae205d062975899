import { MillraceError, quotedValue } from '../errors.ts'

/** The slowest registered group of a stream has `maxBacklog` entries to do, and had them for as long as `publish` waited. Nothing was written: publish again later, or do without. */
export class BacklogFullError extends MillraceError {
  override readonly name = 'BacklogFullError'
  readonly code = 'ERR_BACKLOG_FULL'
  readonly stream: string
  /** The slowest registered group. */
  readonly group: string
  /** Entries that it has not acknowledged, and those that this publisher added since they were counted. */
  readonly backlog: number
  readonly maxBacklog: number

  constructor(stream: string, group: string, backlog: number, maxBacklog: number) {
    const of = `group ${quotedValue(group)} of stream ${quotedValue(stream)}`
    super(`Cannot publish: the backlog of ${of} must be below maxBacklog, ${maxBacklog} entries, got ${backlog}`)
    this.stream = stream
    this.group = group
    this.backlog = backlog
    this.maxBacklog = maxBacklog
  }
}
