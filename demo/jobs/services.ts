import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

/** What the mail service does with a mail: its text says so. `flaky` fails at first; `hang` never answers. */
export const FATES = ['ok', 'flaky', 'refused', 'hang'] as const

/** A mail as it came. Times are of `performance.now()`. */
interface Mail {
  readonly jobId: string
  readonly at: number
  /** When its sender went away without an answer. */
  goneAt?: number
}

/** The mail service, Lambda with one function, and SNS, on this machine. */
export interface Services {
  /** What leads the system there. */
  readonly environment: Readonly<Record<string, string>>
  readonly mails: readonly Mail[]
  /** Jobs that the function did. */
  readonly invoked: readonly string[]
  readonly notices: readonly string[]
  close(): Promise<void>
}

const FAILURES_OF_FLAKY = 2
/** By its name, as a role of the poller allows it. */
export const FUNCTION = 'demo-job-slugify'

export async function startServices(): Promise<Services> {
  const [mails, invoked, notices]: [Mail[], string[], string[]] = [[], [], []]

  function receiveMail(jobId: string, fate: string, response: ServerResponse): void {
    const mail: Mail = { jobId, at: performance.now() }
    const before = mails.filter((one) => one.jobId === jobId).length
    mails.push(mail)
    if (fate !== 'hang')
      return void response
        .writeHead(fate === 'refused' ? 400 : fate === 'flaky' && before < FAILURES_OF_FLAKY ? 503 : 202)
        .end()
    response.on('close', () => {
      mail.goneAt = performance.now()
    })
  }
  function invoke(name: string, body: string, response: ServerResponse): void {
    const { jobId, input } = JSON.parse(body) as { jobId: string; input: string }
    if (name !== FUNCTION) return void response.writeHead(404).end('{"Message":"no such function"}')
    invoked.push(jobId)
    response.end(JSON.stringify({ slug: input.toLowerCase().replaceAll(' ', '-') }))
  }
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request)
    const [, name] = /^\/2015-03-31\/functions\/([^/]+)\/invocations/.exec(request.url ?? '') ?? []
    if (name !== undefined) return invoke(decodeURIComponent(name), body, response)
    if (request.url === '/mail')
      return receiveMail(String(request.headers['idempotency-key']), JSON.parse(body).text, response)
    notices.push(new URLSearchParams(body).get('Message') ?? '')
    response.writeHead(200, { 'content-type': 'text/xml' })
    response.end('<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>')
  }
  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    environment: {
      MAIL_URL: `${url}/mail`,
      NOTICES_TOPIC_ARN: 'arn:aws:sns:us-east-1:000000000000:notices',
      AWS_ENDPOINT_URL_LAMBDA: url,
      AWS_ENDPOINT_URL_SNS: `${url}/sns`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'none',
      AWS_SECRET_ACCESS_KEY: 'none',
    },
    mails,
    invoked,
    notices,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
