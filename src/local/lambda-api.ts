import { isUtf8 } from 'node:buffer'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { quotedValue } from '../errors.ts'
import type { LocalInvocationDispatcher } from './dispatcher.ts'
import { isFromWebPage } from './from-a-page.ts'
import { InvokeApiError } from './invoke-api-error.ts'

const HOST = '127.0.0.1'
const PATH = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/
/** A name, a partial or a whole ARN, with or without a qualifier. */
const FUNCTION = /^(?:arn:[^:]+:lambda:[^:]*:\d*:function:|\d+:function:)?([\w-]+)(?::([\w$-]+))?$/
const LATEST = '$LATEST'
const MAX_BYTES = { RequestResponse: 6_291_456, Event: 1_048_576, DryRun: 6_291_456 } as const

type InvocationType = keyof typeof MAX_BYTES

/**
 * The HTTP endpoint of Lambda's Invoke, on loopback. A web page's requests are refused: any page in the developer's browser could invoke.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
 */
export class LocalInvokeApi {
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: Error) => refuse(response, error))
  })
  #dispatcher: LocalInvocationDispatcher | undefined

  /** Opens a free port; what functions there are is said by `serve()`, since functions get the address. */
  static async start(): Promise<LocalInvokeApi> {
    const api = new LocalInvokeApi()
    api.#server.listen(0, HOST)
    await once(api.#server, 'listening')
    return api
  }

  get url(): string {
    return `http://${HOST}:${(this.#server.address() as AddressInfo).port}`
  }

  serve(dispatcher: LocalInvocationDispatcher): void {
    this.#dispatcher = dispatcher
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#dispatcher) await answer(request, response, this.#dispatcher)
    else response.writeHead(503).end()
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  dispatcher: LocalInvocationDispatcher,
): Promise<void> {
  if (isFromWebPage(request))
    throw new InvokeApiError('AccessDeniedException', 403, 'Requests of web pages are not served here')
  const asked = askedFor(request.url ?? '/')
  if (request.method !== 'POST' || asked === undefined)
    throw new InvokeApiError('ResourceNotFoundException', 404, 'Only Invoke is served here')
  const name = resolveName(asked.name, asked.qualifier)
  const type = typeOf(request)
  const payload = await readPayload(request, type)
  const target = dispatcher.find(name)
  if (type === 'DryRun') return void response.writeHead(204).end()
  if (type === 'Event') {
    return void response.writeHead(202, { 'X-Amzn-RequestId': dispatcher.enqueue(target.deployed.name, payload) }).end()
  }
  show(response, await dispatcher.invoke(name, payload))
}

function show(
  response: ServerResponse,
  { requestId, result }: Awaited<ReturnType<LocalInvocationDispatcher['invoke']>>,
): void {
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'X-Amzn-RequestId': requestId,
    'X-Amz-Executed-Version': LATEST,
    ...(result.functionError && { 'X-Amz-Function-Error': result.functionError }),
  })
  response.end(result.payload)
}

/** Of whom a path speaks; `undefined` where it is none of Invoke. */
function askedFor(path: string): { readonly name: string; readonly qualifier: string | null } | undefined {
  try {
    const url = new URL(path, `http://${HOST}`)
    const [, encoded] = PATH.exec(url.pathname) ?? []
    return encoded === undefined
      ? undefined
      : { name: decodeURIComponent(encoded), qualifier: url.searchParams.get('Qualifier') }
  } catch {
    return undefined
  }
}

function resolveName(text: string, parameter: string | null): string {
  const [, name, suffix] = FUNCTION.exec(text) ?? []
  if (name === undefined)
    throw new InvokeApiError(
      'InvalidParameterValueException',
      400,
      `Not a function's name or ARN: ${quotedValue(text)}`,
    )
  const qualifier = suffix ?? parameter ?? LATEST
  if (qualifier !== LATEST)
    throw new InvokeApiError(
      'ResourceNotFoundException',
      404,
      `Function not found: ${name}:${qualifier}; there is only ${LATEST} here`,
    )
  return name
}

function typeOf(request: IncomingMessage): InvocationType {
  const type = request.headers['x-amz-invocation-type'] ?? 'RequestResponse'
  if (typeof type === 'string' && Object.hasOwn(MAX_BYTES, type)) return type as InvocationType
  throw new InvokeApiError('InvalidParameterValueException', 400, `No invocation type ${quotedValue(type)}`)
}

async function readPayload(request: IncomingMessage, type: InvocationType): Promise<string> {
  const body = await readBody(request, type)
  const payload = body.toString() || '{}'
  if (isUtf8(body) && isJson(payload)) return payload
  throw new InvokeApiError('InvalidRequestContentException', 400, 'Could not parse request body into json')
}

async function readBody(request: IncomingMessage, type: InvocationType): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= MAX_BYTES[type]) chunks.push(chunk)
  }
  if (size <= MAX_BYTES[type]) return Buffer.concat(chunks)
  const text = `${size} byte payload is too large for the ${type} invocation type (limit ${MAX_BYTES[type]} bytes)`
  throw new InvokeApiError('RequestTooLargeException', 413, text)
}

function isJson(payload: string): boolean {
  try {
    JSON.parse(payload)
    return true
  } catch {
    return false
  }
}

function refuse(response: ServerResponse, error: Error): void {
  const { name, statusCode, reason } =
    error instanceof InvokeApiError ? error : { name: 'ServiceException', statusCode: 500 }
  response.writeHead(statusCode, { 'Content-Type': 'application/json', 'X-Amzn-ErrorType': name })
  const type = statusCode === 500 ? 'Service' : 'User'
  response.end(JSON.stringify({ Type: type, message: error.message, ...(reason && { Reason: reason }) }))
}
