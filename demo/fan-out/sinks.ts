import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'

/** What is asked of a sink: rows to ingest, and a flush; an object; events for the bus. */
export type Asked = 'rows' | 'flush' | 'object' | 'events'

/** What becomes of a request: `busy` and `fail` are errors, after which nothing was done; `drop` does what is asked for, and then nobody hears of it. */
export type Fate = 'yes' | 'busy' | 'fail' | 'drop'

/** What becomes of one row or event, by its eventId. */
export type Piece = 'taken' | 'later' | 'denied' | 'refused'

interface Line {
  readonly entryId: string
  readonly fields: readonly (readonly [name: string, value: string])[]
}

interface Forwarded {
  readonly DetailType: string
  readonly detail: { readonly eventId: string; readonly [member: string]: unknown }
}

export interface SinkRules {
  readonly fateOf?: (asked: Asked, attempt: number) => Fate | Promise<Fate>
  readonly pieceOf?: (asked: Asked, eventId: string) => Piece
  /** Awaited when something was done, ahead of its answer. */
  readonly doneWith?: (asked: Asked) => unknown
}

/** A warehouse, S3 and EventBridge, with what they hold: it outlives whoever asks, but for rows that were never flushed. */
export interface Sinks {
  /** What the functions' environment says of them. */
  readonly environment: Readonly<Record<string, string>>
  /** The warehouse's rows, by id; only those that were flushed. */
  readonly rows: ReadonlyMap<string, string>
  /** Objects by key, each as its lines. */
  readonly objects: ReadonlyMap<string, readonly Line[]>
  /** What the bus took, repeats included. */
  readonly forwarded: readonly Forwarded[]
  close(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly body: string
}

const NOT_TAKEN = {
  later: 'InternalFailure',
  denied: 'NotAuthorizedForSource',
  refused: 'MalformedDetail',
} as const

export async function startSinks({
  fateOf = () => 'yes',
  pieceOf = () => 'taken',
  doneWith = () => {},
}: SinkRules = {}): Promise<Sinks> {
  const rows = new Map<string, string>()
  const staged = new Map<string, Map<string, string>>()
  const objects = new Map<string, readonly Line[]>()
  const forwarded: Forwarded[] = []
  const attempts: Partial<Record<Asked, number>> = {}

  const carryOut: Readonly<Record<Asked, (body: Buffer, request: IncomingMessage) => Answer>> = {
    rows(body, request) {
      const batch = batchOf(request)
      const own = staged.get(batch) ?? new Map<string, string>()
      staged.set(batch, own)
      const lines = body.toString().trim().split('\n')
      const refused = lines.flatMap((line) => {
        const { id } = JSON.parse(line) as { id: string }
        if (pieceOf('rows', id) === 'refused') return [{ id, why: 'a column does not fit' }]
        own.set(id, line)
        return []
      })
      return json({ refused })
    },
    flush(_body, request) {
      const batch = batchOf(request)
      for (const [id, line] of staged.get(batch) ?? []) rows.set(id, line)
      staged.delete(batch)
      return json({})
    },
    object(body, { url = '', headers }) {
      const key = decodeURIComponent(new URL(url, 'http://s3').pathname)
      if (headers['if-none-match'] === '*' && objects.has(key))
        return { status: 412, body: '<Error><Code>PreconditionFailed</Code></Error>' }
      const lines = gunzipSync(body).toString().trim().split('\n')
      objects.set(
        key,
        lines.map((line) => JSON.parse(line)),
      )
      return { status: 200, body: '' }
    },
    events(body) {
      const { Entries } = JSON.parse(body.toString()) as { Entries: { DetailType: string; Detail: string }[] }
      const answers = Entries.map(({ DetailType, Detail }, n) => {
        const detail = JSON.parse(Detail) as Forwarded['detail']
        const piece = pieceOf('events', detail.eventId)
        if (piece !== 'taken') return { ErrorCode: NOT_TAKEN[piece] }
        forwarded.push({ DetailType, detail })
        return { EventId: `${forwarded.length}-${n}` }
      })
      return json({ FailedEntryCount: answers.filter(({ ErrorCode }) => ErrorCode).length, Entries: answers })
    },
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = askedBy(request)
    const body = await buffer(request)
    const attempt = (attempts[asked] ?? 0) + 1
    attempts[asked] = attempt
    const fate = await fateOf(asked, attempt)
    if (fate === 'busy') return void response.writeHead(503).end()
    // S3's, and EventBridge's, errors of 500 are as good as busy
    if (fate === 'fail') return void response.writeHead(500).end()
    const answer = carryOut[asked](body, request)
    await doneWith(asked)
    if (fate === 'drop') response.destroy()
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body)
  }

  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    environment: {
      WAREHOUSE_URL: `${url}/warehouse`,
      EVENT_BUS_NAME: 'orders',
      AUDIT_BUCKET: 'records',
      AWS_ENDPOINT_URL_S3: url,
      AWS_ENDPOINT_URL_EVENTBRIDGE: url,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'nobody',
      AWS_SECRET_ACCESS_KEY: 'nothing',
    },
    rows,
    objects,
    forwarded,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function askedBy({ method, url = '' }: IncomingMessage): Asked {
  if (method === 'PUT') return 'object'
  if (url === '/') return 'events'
  return url.includes('/flush') ? 'flush' : 'rows'
}

const batchOf = ({ url = '' }: IncomingMessage) => new URL(url, 'http://warehouse').searchParams.get('batch') ?? ''

function json(body: object): Answer {
  return { status: 200, body: JSON.stringify(body) }
}
