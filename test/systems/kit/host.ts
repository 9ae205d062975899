// Wakes functions again and again until it is killed: node host.ts MODULE…, each with a scheduled function as its `handler`.
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type { Report, ScheduledHandler } from 'millrace'
import { lambdaContext } from '../../../demo/schedule.ts'

const PAUSE_MS = 20

const handlers = await Promise.all(
  process.argv.slice(2).map(async (path) => {
    const { handler } = (await import(pathToFileURL(resolve(path)).href)) as { handler: ScheduledHandler<Report> }
    return { handler, name: path }
  }),
)
process.send?.('ready')
await Promise.all(handlers.map(wakeForever))

async function wakeForever({ handler, name }: (typeof handlers)[number]): Promise<never> {
  for (;;) {
    // what fails is for the test to find in what the server holds
    await handler({ source: 'aws.scheduler' }, lambdaContext(name)).catch((error: Error) =>
      console.error(error.message),
    )
    await sleep(PAUSE_MS)
  }
}
