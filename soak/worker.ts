// A Lambda execution environment in a process of its own: polls or claims whenever it is asked to, until it is killed.
import type { InvocationFailedError, Report } from 'millrace'
import { claim, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { notingHandler, orderedConsumer, soakConsumer } from './consumer.ts'
import type { Invoke, WorkerOrder } from './fleet.ts'
import type { ReportNumbers } from './notes.ts'
import { Notebook } from './notes.ts'
import { watchStandstill } from './time.ts'

const { url, action, dir, name, isOlder, isOrdered, waits } = JSON.parse(process.argv[2] ?? '{}') as WorkerOrder
const notebook = new Notebook(dir, name)
const redis = connectIoredis(url)
let current = 0
const handler = notingHandler(notebook, () => current)
const consumer = isOrdered ? orderedConsumer(handler) : soakConsumer(handler, isOlder)

watchStandstill(({ from }) => notebook.write({ note: 'stood', from }))
// a Ctrl-C reaches every process of the terminal; it is the soak that ends this one
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit())
process.on('message', (invoke: Invoke) => void run(invoke))
process.send?.('ready')

async function run({ invocation, remainingMs }: Invoke): Promise<void> {
  current = invocation
  notebook.write({ note: 'invoked', invocation })
  try {
    const options = { redis, remainingMs }
    const report = await (action === 'poll'
      ? poll(consumer, { ...options, mode: waits ? 'listen' : 'drain' })
      : claim(consumer, { ...options, lingerMs: waits ? Number.POSITIVE_INFINITY : 0 }))
    notebook.write({ note: 'ended', invocation, report: numbersOf(report) })
  } catch (error) {
    const { message, report } = error as InvocationFailedError
    notebook.write({ note: 'ended', invocation, failure: message, ...(report && { report: numbersOf(report) }) })
  }
  process.send?.('ended')
}

function numbersOf({ consumers: _consumers, ...numbers }: Report): ReportNumbers {
  return numbers
}
