import type { Redis } from 'ioredis'
import { DELAYED } from './delays.ts'

const EVENTS = `${DELAYED}:events`

/** An event as its page has it. */
export interface PagedEvent {
  readonly page: string
  /** In milliseconds since 1970. */
  readonly due: number
  readonly eventId: string
  readonly body: Buffer
}

/** Events of stream `orders` that are delayed, those that cannot be read included, by page. */
export async function pagedEvents(raw: Redis): Promise<readonly PagedEvent[]> {
  const pages = await raw.zrange(DELAYED, '0', '-1', 'WITHSCORES')
  const events: PagedEvent[] = []
  for (let n = 0; n < pages.length; n += 2) {
    const page = pages[n] as string
    for (const event of eventsIn((await raw.hgetBuffer(EVENTS, `p${page}`)) ?? Buffer.alloc(0)))
      events.push({ ...event, page, due: Number(pages[n + 1]) + event.after })
  }
  return events
}

/** When an event is due, as a script answers it; null if none of that id is delayed. */
export async function dueOf(raw: Redis, eventId: string): Promise<string | null> {
  const found = (await pagedEvents(raw)).find((event) => event.eventId === eventId)
  return found ? String(found.due) : null
}

/** Has the body of an event say something else. @returns What it said. */
export async function changeBody(raw: Redis, eventId: string, change: (body: Buffer) => Buffer): Promise<Buffer> {
  const { page } = (await pagedEvents(raw)).find((event) => event.eventId === eventId) as PagedEvent
  const events = eventsIn((await raw.hgetBuffer(EVENTS, `p${page}`)) as Buffer)
  let was = Buffer.alloc(0)
  const parts = events.map((event) => {
    if (event.eventId !== eventId) return event.whole
    was = Buffer.from(event.body)
    const body = change(event.body)
    return Buffer.concat([numberBytes(event.after), event.key, numberBytes(body.length), body])
  })
  await raw.hset(EVENTS, `p${page}`, Buffer.concat(parts))
  return was
}

function eventsIn(page: Buffer) {
  const events: { after: number; eventId: string; key: Buffer; body: Buffer; whole: Buffer }[] = []
  for (let at = 0; at < page.length; ) {
    const [after, from] = numberAt(page, at)
    const isUuid = page[from] === 'u'.charCodeAt(0)
    const [length, first] = isUuid ? [16, from + 1] : numberAt(page, from + 1)
    const [bytes, start] = numberAt(page, first + length)
    const id = page.subarray(first, first + length)
    const eventId = isUuid ? id.toString('hex').replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') : id.toString()
    const end = start + bytes
    const key = page.subarray(from, first + length)
    events.push({ after, eventId, key, body: page.subarray(start, end), whole: page.subarray(at, end) })
    at = end
  }
  return events
}

function numberAt(bytes: Buffer, at: number): [n: number, next: number] {
  let n = 0
  for (let unit = 1; ; unit *= 128, at += 1) {
    const byte = bytes[at] as number
    n += (byte % 128) * unit
    if (byte < 128) return [n, at + 1]
  }
}

function numberBytes(n: number): Buffer {
  const bytes: number[] = []
  for (; n > 127; n = Math.floor(n / 128)) bytes.push((n % 128) + 128)
  return Buffer.from([...bytes, n])
}
