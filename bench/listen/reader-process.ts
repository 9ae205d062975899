import type { ReaderName } from './readers.ts'
import { READERS } from './readers.ts'

/** What a parent asks a reader's process for: one run; `stop` ends it before its time. */
export interface RunRequest {
  readonly group: string
  readonly listenMs: number
}

/** Which events came in a run, and when, in nanoseconds of the clock that all processes share. */
export type RunAnswer = readonly (readonly [n: number, receivedAt: bigint])[]

const [name, url] = process.argv.slice(2) as [ReaderName, string]
const reader = READERS[name](url)

process.on('message', (request: RunRequest | 'stop') => {
  if (request === 'stop') reader.stop()
  else void run(request).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => {
  reader.stop()
  void reader.close()
})

async function run({ group, listenMs }: RunRequest): Promise<RunAnswer> {
  const taken: [number, bigint][] = []
  await reader.read(group, listenMs, (n) => void taken.push([n, process.hrtime.bigint()]))
  return taken
}
