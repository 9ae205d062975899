// Prints what our own bytes in a poller's and a claimer's bundle are made of, minified as they are deployed: the table of docs/bench.md.
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesByModule } from './bundle.ts'

/** Parts of a bundle, by where their modules lie; the first that fits counts. */
const PARTS: readonly (readonly [part: string, modules: RegExp])[] = [
  ['Middy', /^node_modules\//],
  [
    'policies',
    /^dist\/(policies\/|define\/policy|core\/(wrap|joinable)|group\/redis\/(joining|scripts\/join)\.|run\/(policy-|decided))/,
  ],
  ['scripts in Lua', /^dist\/group\/redis\/scripts\//],
  ['connection: clusters', /^dist\/clients\/cluster-/],
  ['connection: sentinels', /^dist\/clients\/sentinel/],
  ['connection: URLs, options, sign-in', /^dist\/clients\/(url|url-clients|.*options|sign-in|ready)\.js/],
  [
    'connection: sending, time limits, failures',
    /^dist\/(clients\/|group\/redis\/(transport|resend-refused|classify-reply|keys-of|sender)\.js)/,
  ],
  ['group: commands, settlements, slots', /^dist\/group\//],
  ['run: feeders', /^dist\/run\/feed\//],
  ['run: pool, calls, settler, renewal', /^dist\/run\//],
  ['rules: decoding, dead letters, what messages may quote', /^dist\/core\//],
  ['definitions, options, errors, report', /^dist\//],
]

const outfile = join(tmpdir(), `millrace-parts-${process.pid}.mjs`)
const [poller, claimer] = await Promise.all(['createPoller', 'createClaimer'].map((create, n) => partsOf(create, n)))
const names = PARTS.map(([part]) => part)
const sum = (parts: ReadonlyMap<string, number> | undefined) => [...(parts?.values() ?? [])].reduce((a, b) => a + b, 0)
const lines = names.map((part) => [part, poller?.get(part) ?? 0, claimer?.get(part) ?? 0] as const)
console.log('| part | poller | claimer |\n| --- | ---: | ---: |')
for (const [part, inPoller, inClaimer] of [...lines, ['together', sum(poller), sum(claimer)] as const])
  console.log(`| ${part} | ${inPoller.toLocaleString('en-US')} | ${inClaimer.toLocaleString('en-US')} |`)

async function partsOf(create: string, n: number): Promise<ReadonlyMap<string, number>> {
  const code = `export { ${create}, defineConsumer, defineEvent, on } from 'millrace'; export { connectIoredis } from 'millrace/ioredis'`
  const path = `${outfile}.${n}`
  const bytes = await bytesByModule({ code, external: ['ioredis', '@upstash/redis'] }, path)
  await Promise.all([path, `${path}.map`].map((file) => rm(file, { force: true })))
  const parts = new Map<string, number>()
  for (const [module, size] of bytes) {
    const [part] = PARTS.find(([, modules]) => modules.test(module)) ?? []
    if (part !== undefined) parts.set(part, (parts.get(part) ?? 0) + size)
  }
  return parts
}
