import { randomUUID, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { RUNTIME_SECRET_HEADER } from './rapid-secret.ts'

const HOST = '127.0.0.1'
const PATH = /^\/2018-06-01\/runtime\/(?:(invocation\/next|init\/error)|invocation\/([^/]+)\/(response|error))$/
/** Lambda's limit for what a function answers. */
const MAX_ANSWER_BYTES = 6_291_556

/** What a function answered to one event. */
export interface FunctionAnswer {
  /** JSON. */
  readonly payload: string
  readonly isError: boolean
}

/** What the runtime client says. */
export interface RuntimeApiListener {
  /** It asks for the next event and waits for it. */
  onNext(): void
  onAnswer(requestId: string, answer: FunctionAnswer): void
  /** The function could not be loaded. */
  onInitError(payload: string): void
}

/** One event, as the runtime client receives it. */
export interface RuntimeEvent {
  readonly requestId: string
  readonly payload: string
  readonly deadlineMs: number
  readonly functionArn: string
  readonly traceId: string
}

/**
 * Lambda's Runtime API for one execution environment. It serves nobody but who knows its secret: whatever else can reach this machine's loopback, a
 * web page's `<img>` among it, would take events away.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
 */
export class RuntimeApi {
  readonly #server: Server
  readonly #listener: RuntimeApiListener
  /** What requests must carry. */
  readonly secret = randomUUID()
  #waiting: ServerResponse | undefined

  private constructor(listener: RuntimeApiListener) {
    this.#listener = listener
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy())
    })
    // A frozen environment keeps its connection for as long as it takes.
    Object.assign(this.#server, { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 })
  }

  static async start(listener: RuntimeApiListener): Promise<RuntimeApi> {
    const api = new RuntimeApi(listener)
    api.#server.listen(0, HOST)
    await once(api.#server, 'listening')
    return api
  }

  /** Host and port, for `AWS_LAMBDA_RUNTIME_API`. */
  get address(): string {
    return `${HOST}:${(this.#server.address() as AddressInfo).port}`
  }

  /** Answers the request for the next event. */
  deliver(event: RuntimeEvent): void {
    this.#waiting?.writeHead(200, {
      'Content-Type': 'application/json',
      'Lambda-Runtime-Aws-Request-Id': event.requestId,
      'Lambda-Runtime-Deadline-Ms': event.deadlineMs,
      'Lambda-Runtime-Invoked-Function-Arn': event.functionArn,
      'Lambda-Runtime-Trace-Id': event.traceId,
    })
    this.#waiting?.end(event.payload)
    this.#waiting = undefined
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isSame(request.headers[RUNTIME_SECRET_HEADER], this.secret)) return void response.writeHead(403).end()
    const [, call, requestId = '', kind] = PATH.exec(request.url ?? '') ?? []
    if (call === 'invocation/next') {
      this.#waiting = response
      this.#listener.onNext()
      return
    }
    const body = await text(request)
    if (call === 'init/error') this.#listener.onInitError(body)
    else if (kind === undefined) return void response.writeHead(404).end()
    else
      this.#listener.onAnswer(
        decodeURIComponent(requestId),
        bounded({ payload: body || 'null', isError: kind === 'error' }),
      )
    response.writeHead(202, { 'Content-Type': 'application/json' }).end('{"status":"OK"}')
  }
}

function isSame(given: string | string[] | undefined, secret: string): boolean {
  const bytes = Buffer.from(String(given))
  return bytes.length === secret.length && timingSafeEqual(bytes, Buffer.from(secret))
}

function bounded(answer: FunctionAnswer): FunctionAnswer {
  if (Buffer.byteLength(answer.payload) <= MAX_ANSWER_BYTES) return answer
  const errorMessage = `Response payload size exceeded maximum allowed payload size (${MAX_ANSWER_BYTES} bytes).`
  return { payload: JSON.stringify({ errorType: 'Function.ResponseSizeTooLarge', errorMessage }), isError: true }
}
