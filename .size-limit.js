// What may be loaded at a cold start. The sample's poller, bundled as it is deployed, stays within 174 KB of ioredis alone. Each entry point,
// without the clients that its user brings, has a limit a little above what it is: nothing gets in by accident.
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundle } from './tools/bundle.ts'

const OVER_IOREDIS_BYTES = 174 * 1024

const ENTRY_POINTS = {
  millrace: '108 KB',
  'millrace/ioredis': '66 KB',
  'millrace/upstash': '40 KB',
  'millrace/operator': '28 KB',
  'millrace/doctor': '46 KB',
  'millrace/lambda': '18 KB',
  'millrace/powertools': '43 KB',
  'millrace/opentelemetry': '17 KB',
}

const folder = await mkdtemp(join(tmpdir(), 'millrace-size-'))
process.once('exit', () => rmSync(folder, { recursive: true }))

async function check(name, source, limit) {
  const path = join(folder, `${name.replace(/\W+/g, '-')}.mjs`)
  await bundle(source, path)
  return { name, path, limit, rolldown: false, brotli: false }
}

const ioredisBytes = await bundle({ code: "export { Redis } from 'ioredis'" }, join(folder, 'ioredis-alone.mjs'))
const poller = { file: 'functions/orders/poller.ts' }
const checks = [await check('the sample poller', poller, `${ioredisBytes + OVER_IOREDIS_BYTES} B`)]
for (const [name, limit] of Object.entries(ENTRY_POINTS)) {
  const external = ['ioredis', '@upstash/redis']
  checks.push(await check(name, { code: `export * from '${name}'`, external }, limit))
}

export default checks
