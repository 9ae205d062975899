// Loaded into a function's process before AWS's runtime interface client, with `node --import`. That client talks to the Runtime API through
// a native module which takes a minute and a compiler to build. This stands in for it, over node:http, when it is required. What the client sends by
// itself, as an error of loading, goes through node:http as well, and gets the Runtime API's secret there.
import http, { Agent, type IncomingMessage, type RequestOptions } from 'node:http'
import Module from 'node:module'
import { RUNTIME_SECRET_HEADER, RUNTIME_SECRET_VARIABLE } from './rapid-secret.ts'

const NATIVE_MODULE = 'rapid-client.node'
const { hostname, port } = new URL(`http://${process.env.AWS_LAMBDA_RUNTIME_API}`)
const secret = process.env[RUNTIME_SECRET_VARIABLE] ?? ''
delete process.env[RUNTIME_SECRET_VARIABLE]

const plain = http.request
/** Requests to the Runtime API carry its secret; all others are as they are. */
const request = (options: RequestOptions, onResponse?: (response: IncomingMessage) => void) => {
  if (options.hostname === hostname && String(options.port) === port)
    options.headers = { ...(options.headers as Record<string, string>), [RUNTIME_SECRET_HEADER]: secret }
  return plain(options, onResponse)
}
http.request = request as typeof plain

/** One socket: an answer reaches the server before the next event is asked for. */
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

interface NextInvocation {
  readonly bodyJson: string
  readonly headers: NodeJS.Dict<string | string[]>
}

function send(method: string, path: string, body = ''): Promise<NextInvocation> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }
    const sent = request(
      { agent, hostname, port, method, path: `/2018-06-01/runtime/invocation/${path}`, headers },
      (response) => {
        let bodyJson = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          bodyJson += chunk
        })
        response.once('end', () => resolve({ bodyJson, headers: response.headers }))
      },
    )
    sent.once('error', reject)
    sent.end(body)
  })
}

/** The native client's functions. Those that post do not wait: should the server be gone, `next` fails as well. */
const client = {
  next: () => send('GET', 'next'),
  done: (id: string, body: string) => void send('POST', `${id}/response`, body).catch(() => {}),
  error: (id: string, body: string) => void send('POST', `${id}/error`, body).catch(() => {}),
}

type Load = (request: string, ...rest: unknown[]) => unknown
const loader = Module as unknown as { _load: Load }
const load = loader._load
loader._load = (name, ...rest) => (name.endsWith(NATIVE_MODULE) ? client : load.call(loader, name, ...rest))
