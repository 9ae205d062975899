import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'

/**
 * What goes wrong with the next request: its commands run and the reply is lost, it is refused with HTTP 500 before
 * they run, or they run that many milliseconds late.
 */
type RestFault = 'loseReply' | 'serverError' | { readonly delayMs: number }

/** Upstash's REST interface in front of a real server. */
export interface RestServer {
  readonly url: string
  readonly token: string
  /** Requests received so far. */
  readonly requests: number
  /** Makes the next request fail; calls add up. */
  failNext(fault: RestFault): void
  close(): Promise<void>
}

type Result = { readonly result: unknown } | { readonly error: string }
type Words = readonly (string | number | boolean)[]

/** An answer that ends the request: an HTTP status and an error's text. */
class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const refusedCommands =
  /^(auth|client|discard|exec|hello|monitor|multi|p?subscribe|quit|reset|select|ssubscribe|unwatch|watch)$/
const keyLockingLine = /^#!lua flags=allow-key-locking\n/

/**
 * Starts the stand-in on a free port of 127.0.0.1. It speaks the protocol as documented; the texts of Upstash's own
 * refusals (blocked commands, a transaction that is discarded) are guesses.
 *
 * @see https://upstash.com/docs/redis/features/restapi
 */
export async function startRestServer(options: {
  redisUrl: string
  token: string
  /** A larger answer of one command is refused. Default: none is. */
  maxReplyBytes?: number
}): Promise<RestServer> {
  const { token, maxReplyBytes = Infinity } = options
  const redis = new Redis(options.redisUrl, { protocol: 2, maxRetriesPerRequest: 1, enableReadyCheck: false })
  redis.on('error', () => {})
  /** From the digest of a script as it was sent to that of the script without its key locking line. */
  const digests = new Map<string, string>()
  const faults: RestFault[] = []
  const ending = new AbortController()
  let requests = 0

  const http = createServer((request, response) => void serve(request, response))

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests += 1
    const fault = faults.shift()
    const base64 = request.headers['upstash-encoding'] === 'base64'
    let status = 200
    let answer: unknown
    try {
      const body = await readBody(request)
      if (fault === 'serverError') throw new Refusal(500, 'internal server error')
      if (typeof fault === 'object') await delay(fault.delayMs, undefined, { signal: ending.signal })
      answer = await run(request, body, base64)
    } catch (error) {
      status = error instanceof Refusal ? error.status : isReplyError(error) ? 400 : 500
      answer = { error: (error as Error).message }
    }
    if (fault === 'loseReply') return void response.destroy()
    response.writeHead(status, { 'content-type': 'application/json', 'upstash-sync-token': `sync-${requests}` })
    response.end(JSON.stringify(answer))
  }

  async function run(request: IncomingMessage, body: string, base64: boolean): Promise<unknown> {
    if (!['GET', 'HEAD', 'POST', 'PUT'].includes(request.method ?? '')) throw new Refusal(405, 'ERR method not allowed')
    const url = new URL(request.url ?? '/', 'http://localhost')
    const given = url.searchParams.get('_token') ?? request.headers.authorization?.replace(/^Bearer /i, '')
    if (given !== token) throw new Refusal(401, 'WRONGPASS invalid or missing auth token')
    url.searchParams.delete('_token')
    const path = url.pathname.split('/').slice(1).map(decodeURIComponent)

    if (path[0] === 'pipeline') return Promise.all(parseCommands(body).map((words) => attempt(words, base64)))
    if (path[0] === 'multi-exec') return transact(parseCommands(body), base64)
    const inPath = path.concat(body === '' ? [] : [body], [...url.searchParams].flat())
    const words = url.pathname === '/' ? parseCommand(parseJson(body)) : inPath
    return { result: toJson(await send(words), base64) }
  }

  async function send(words: Words): Promise<unknown> {
    const [name, args] = translate(words)
    const reply = await redis.callBuffer(name, args)
    if (name === 'script' && String(args[0]).toLowerCase() === 'load') return sha1(String(words[2]))
    return reply
  }

  /** What to ask the server behind; it does not know Upstash's key locking line. */
  function translate(words: Words): [name: string, args: string[]] {
    const name = String(words[0]).toLowerCase()
    const args = words.slice(1).map(String)
    const options = args.map((arg) => arg.toLowerCase())
    const blocks = name.startsWith('xread') && options.slice(0, options.indexOf('streams')).includes('block')
    if (blocks || refusedCommands.test(name)) throw new Refusal(400, `ERR Command is not available: '${words[0]}'`)
    const scriptAt = { eval: 0, eval_ro: 0, script: 1 }[name]
    const script = scriptAt === undefined ? undefined : args[scriptAt]
    if (script !== undefined && scriptAt !== undefined && keyLockingLine.test(script)) {
      args[scriptAt] = script.replace(keyLockingLine, '')
      digests.set(sha1(script), sha1(args[scriptAt]))
    }
    const namesDigests = name.startsWith('evalsha') || (name === 'script' && options[0] === 'exists')
    return [name, namesDigests ? args.map((arg, at) => digests.get(options[at] ?? '') ?? arg) : args]
  }

  async function attempt(words: Words, base64: boolean): Promise<Result> {
    try {
      const result = toJson(await send(words), base64)
      const bytes = maxReplyBytes === Infinity ? 0 : JSON.stringify(result).length
      if (bytes <= maxReplyBytes) return { result }
      return { error: `ERR max request size exceeded. Limit: ${maxReplyBytes} bytes, Actual: ${bytes}` }
    } catch (error) {
      if (error instanceof Refusal || isReplyError(error)) return { error: error.message }
      throw error
    }
  }

  /** The commands leave in one go, so nothing of another request gets between MULTI and EXEC. */
  async function transact(commands: readonly Words[], base64: boolean): Promise<Result[]> {
    const translated = commands.map(translate)
    const queued = [redis.call('multi'), ...translated.map(([name, args]) => redis.callBuffer(name, ...args))]
    const results = redis.callBuffer('exec')
    await Promise.allSettled(queued)
    return ((await results) as unknown[]).map((reply) =>
      reply instanceof Error ? { error: reply.message } : { result: toJson(reply, base64) },
    )
  }

  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    token,
    get requests() {
      return requests
    },
    failNext(fault) {
      faults.push(fault)
    },
    async close() {
      if (!http.listening) return
      ending.abort()
      const closed = once(http, 'close')
      http.close()
      http.closeAllConnections()
      await closed
      redis.disconnect()
    },
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    throw new Refusal(400, 'ERR failed to parse the request')
  }
}

function parseCommands(body: string): Words[] {
  const commands = parseJson(body)
  if (!Array.isArray(commands) || commands.length === 0) throw new Refusal(400, 'ERR empty pipeline request')
  return commands.map(parseCommand)
}

function parseCommand(command: unknown): Words {
  const isWord = (word: unknown) => ['string', 'number', 'boolean'].includes(typeof word)
  if (Array.isArray(command) && command.length > 0 && command.every(isWord)) return command
  throw new Refusal(400, 'ERR failed to parse command')
}

/** A reply as JSON says it: bytes that are not UTF-8 become U+FFFD; in base64, every string but `OK` is encoded. */
function toJson(reply: unknown, base64: boolean): unknown {
  if (Array.isArray(reply)) return reply.map((item) => toJson(item, base64))
  // what the client here makes of a hash: the service answers it flat
  if (typeof reply === 'object' && reply !== null && !Buffer.isBuffer(reply))
    return toJson(Object.entries(reply).flat(), base64)
  if (!Buffer.isBuffer(reply) && typeof reply !== 'string') return reply
  const bytes = Buffer.from(reply as Buffer)
  const text = bytes.toString('utf8')
  return base64 && text !== 'OK' ? bytes.toString('base64') : text
}

function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex')
}
