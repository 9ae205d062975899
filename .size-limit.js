// What may be loaded at a cold start, each with a limit a little above what it is: nothing gets in by accident. Functions as they are deployed, then what each
// feature adds to a poller, then each entry point; all without the clients and libraries that their user brings. docs/bench.md says what the bytes are.
import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundle } from './tools/bundle.ts'

/** Of the sample's poller, which has metrics, logs and zod in it. */
const OVER_IOREDIS_BYTES = 254_600

const DEFINE = "export { defineConsumer, defineEvent, on } from 'millrace';"
const OVER_TCP = "export { connectIoredis } from 'millrace/ioredis';"
const OVER_REST = "export { connectUpstash } from 'millrace/upstash';"
const POLLER = `export { createPoller } from 'millrace'; ${DEFINE} ${OVER_TCP}`

const FUNCTIONS = {
  'a poller over TCP': [POLLER, '198.7 KB'],
  'a claimer over TCP': [`export { createClaimer } from 'millrace'; ${DEFINE} ${OVER_TCP}`, '203.5 KB'],
  'a poller over REST': [`export { createPoller } from 'millrace'; ${DEFINE} ${OVER_REST}`, '170.9 KB'],
  'a publisher over TCP': [`export { createPublisher, defineEvent } from 'millrace'; ${OVER_TCP}`, '137.9 KB'],
  'a janitor over TCP, with s3Archive()': [
    `export { createJanitor } from 'millrace/janitor'; export { s3Archive } from 'millrace/s3'; ${OVER_TCP}`,
    '115.1 KB',
  ],
}

/** To a poller over TCP. */
const FEATURES = {
  'definePolicy()': ["export { definePolicy } from 'millrace'", '23.8 KB'],
  'idempotent()': ["export { idempotent } from 'millrace'", '29.4 KB'],
  'circuitBreaker()': ["export { circuitBreaker } from 'millrace'", '58.8 KB'],
  'rateLimit()': ["export { rateLimit } from 'millrace'", '59.7 KB'],
  'concurrencyLimit()': ["export { concurrencyLimit } from 'millrace'", '59.8 KB'],
  'orderedBy()': ["export { orderedBy } from 'millrace'", '95 KB'],
  'effects()': ["export { effects } from 'millrace'", '39.6 KB'],
  'filterPatterns()': ["export { filterPatterns } from 'millrace'", '5.4 KB'],
  'flatCodec()': ["export { flatCodec } from 'millrace'", '5.2 KB'],
  'claimCheck()': ["export { claimCheck } from 'millrace'", '3.5 KB'],
  'prioritized()': ["export { prioritized } from 'millrace'", '5.4 KB'],
  's3Store()': ["export { s3Store } from 'millrace/s3'", '1.1 KB'],
  'onBatch()': ["export { onBatch } from 'millrace'", '3.1 KB'],
  'lambdaFunction(), with onBatch()': [
    "export { onBatch } from 'millrace'; export { lambdaFunction } from 'millrace/lambda'",
    '13.8 KB',
  ],
  'notifyFunction()': ["export { notifyFunction } from 'millrace/lambda'", '2 KB'],
  'invokeSelf()': ["export { invokeSelf } from 'millrace/lambda'", '0.7 KB'],
  'iamAuth()': ["export { iamAuth } from 'millrace/lambda'", '1.8 KB'],
  'connect(), which has REST as well': ["export { connect } from 'millrace/connect'", '4.8 KB'],
  'createPublisher()': ["export { createPublisher } from 'millrace'", '51.2 KB'],
  'promoteDelays()': ["export { promoteDelays } from 'millrace'", '19.6 KB'],
  'wakePoller(), with createPublisher()': [
    "export { createPublisher } from 'millrace'; export { wakePoller } from 'millrace/lambda'",
    '51.9 KB',
  ],
  'a claimer in the same function': ["export { createClaimer } from 'millrace'", '23.6 KB'],
  'reportMetrics()': ["export { reportMetrics } from 'millrace/powertools'", '25.6 KB'],
  'reportLogs()': ["export { reportLogs } from 'millrace/powertools'", '25.1 KB'],
  'reportTraces()': ["export { reportTraces } from 'millrace/opentelemetry'", '15.9 KB'],
  'checkAtColdStart()': ["export { checkAtColdStart } from 'millrace/operate'", '77 KB'],
}

const ENTRY_POINTS = {
  millrace: '421.3 KB',
  'millrace/ioredis': '76.1 KB',
  'millrace/upstash': '48 KB',
  'millrace/operate': '182.6 KB',
  'millrace/lambda': '18.4 KB',
  'millrace/s3': '5 KB',
  'millrace/powertools': '47.9 KB',
  'millrace/janitor': '50.4 KB',
  'millrace/opentelemetry': '17 KB',
}

const folder = await mkdtemp(join(tmpdir(), 'millrace-size-'))
process.once('exit', () => rmSync(folder, { recursive: true }))
const pathOf = (name) => join(folder, `${name.replace(/\W+/g, '-')}.mjs`)
const row = (name, limit) => ({ name, path: pathOf(name), limit, rolldown: false, brotli: false })
const withoutClients = (code) => ({ code, external: ['ioredis', '@upstash/redis'] })

async function whole(name, source, limit) {
  await bundle(source, pathOf(name))
  return row(name, limit)
}

/** What is measured is a file as large as what the feature adds. */
async function added(name, code, limit) {
  const bytes = await bundle(withoutClients(`${POLLER} ${code}`), pathOf('with'))
  await writeFile(pathOf(name), ' '.repeat(bytes - pollerBytes))
  return row(name, limit)
}

const ioredisBytes = await bundle({ code: "export { Redis } from 'ioredis'" }, join(folder, 'ioredis-alone.mjs'))
const pollerBytes = await bundle(withoutClients(POLLER), pathOf('poller alone'))
const poller = { file: 'functions/orders/poller.ts' }
const checks = [await whole('the sample poller', poller, `${ioredisBytes + OVER_IOREDIS_BYTES} B`)]
for (const [name, [code, limit]] of Object.entries(FUNCTIONS))
  checks.push(await whole(name, withoutClients(code), limit))
for (const [name, [code, limit]] of Object.entries(FEATURES)) checks.push(await added(`+ ${name}`, code, limit))
for (const [name, limit] of Object.entries(ENTRY_POINTS))
  checks.push(await whole(name, withoutClients(`export * from '${name}'`), limit))

export default checks
