import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { OrderPaid } from '../../functions/events/orders.ts'
import { copyService } from '../infra/package-functions.ts'
import { millrace } from './millrace.ts'

const PATIENCE_MS = 180_000
const ORDER = { orderId: 'o-1', amount: '1.00', currency: 'EUR' }

/** The program finds redis-server in PATH; here it may be elsewhere. */
const PATH = [dirname(process.env.MILLRACE_REDIS_SERVER ?? ''), process.env.PATH].join(delimiter)

async function aFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-cli-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

test(
  'millrace dev runs the service on a private Redis, deploys changed functions, and ends in order',
  async () => {
    const cwd = await copyService()
    onTestFinished(() => rm(cwd, { recursive: true, force: true }))
    const TMPDIR = await aFolder()
    const env = { PATH, TMPDIR, HOME: TMPDIR }
    const run = millrace(['dev', '--every', '1', '--env', 'ORDERS_STREAM=shop', '--stage', 'mine'], { cwd, env })

    await run.printed(/Ready: millrace-orders-mine-ordersPoller, millrace-orders-mine-ordersClaimer\b/)
    const [, redisUrl = ''] = await run.printed(/^ {2}Redis {3}(redis:.*)$/)
    const [, endpoint] = await run.printed(/--endpoint-url (\S+)/)
    const redis = connectIoredis(redisUrl)
    onTestFinished(() => redis.close())
    const shop = createPublisher({ stream: 'shop', redis })
    await shop.publish(OrderPaid, ORDER)
    await run.printed(/ordersPoller: read 1, acked 1, batches 1 \(\d+ ms/)

    const source = join(cwd, 'functions/orders/mail.ts')
    await writeFile(
      source,
      (await readFile(source, 'utf8')).replace(
        'async send(',
        "async send(): Promise<void> { throw new Error('down') }, async old(",
      ),
    )
    await run.printed(/A source changed/)
    await run.printed(/Deployed/)
    await shop.publish(OrderPaid, ORDER)
    await run.printed(/ordersPoller: read 1, retried 1/)

    const path = '/2015-03-31/functions/millrace-orders-mine-ordersPoller/invocations'
    expect(await (await fetch(`${endpoint}${path}`, { method: 'POST' })).json()).toMatchObject({ read: 0 })

    run.interrupt()
    expect(await run.exit).toBe(0)
    expect(run.lines.filter((line) => /Stopping$|: failed: |Poll done/.test(line))).toEqual([
      expect.stringMatching(/Stopping$/),
    ])
    await expect(fetch(`${endpoint}${path}`)).rejects.toThrow()
    expect((await readdir(TMPDIR)).filter((name) => name.startsWith('millrace-'))).toEqual([])
  },
  PATIENCE_MS,
)

test('millrace dev says so where there is no redis-server', async () => {
  const folder = await aFolder()
  const run = millrace(['dev'], { cwd: folder, env: { PATH: folder, TMPDIR: folder } })

  await run.printed(
    /^millrace dev: Cannot start a private Redis: no redis-server in PATH; install one, or name a Redis with --redis URL$/,
  )
  expect(await run.exit).toBe(1)
  expect(await readdir(folder)).toEqual([])
})

test('millrace dev says so where there is no osls', async () => {
  const folder = await aFolder()
  const run = millrace(['dev', '--redis', 'redis://127.0.0.1:1'], { cwd: folder, env: { PATH, TMPDIR: folder } })

  await run.printed(
    /^millrace dev: Cannot package: no osls in .* or above; npm install --save-dev osls, or name a --template$/,
  )
  expect(await run.exit).toBe(1)
  expect(await readdir(folder)).toEqual([])
})

test('millrace dev names resources that it does not run, and ends if no function is left', async () => {
  const folder = await aFolder()
  const template = join(folder, 'template.json')
  const Properties = { FunctionName: 'py', Runtime: 'python3.13', Code: { S3Key: 'py.zip' } }
  await writeFile(template, JSON.stringify({ Resources: { Py: { Type: 'AWS::Lambda::Function', Properties } } }))
  const run = millrace(['dev', '--redis', 'redis://127.0.0.1:1', '--template', template], { cwd: folder })

  await run.printed(/Function py is not run locally: only zip packages for Node.js are$/)
  await run.printed(/^millrace dev: Cannot run the service: its template has no function for Node.js$/)
  expect(await run.exit).toBe(1)
})
