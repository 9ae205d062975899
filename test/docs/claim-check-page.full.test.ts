import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Connection, Consumer, EventDefinition, Publisher } from 'millrace'
import { poll } from 'millrace'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/claim-check.md'), 'utf8')

interface Program {
  readonly redis: Connection
  readonly Scanned: EventDefinition
  readonly documents: Publisher
  readonly archive: Consumer
}

test('the program of docs/claim-check.md publishes a large payload, and hands it to its handler', async () => {
  const { server, raw } = await startScenario()
  const [, program = ''] = /```ts\n(\/\/ documents\.ts\n.*?)```/s.exec(page) ?? []
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'claim-check-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const inMemory = program
    .replace('redis://127.0.0.1', server.url)
    .replace("import { s3Store } from 'millrace/s3'", "import { memoryStore } from 'millrace/testing'")
    .replace("s3Store({ bucket: 'payloads' })", 'memoryStore()')
  await writeFile(join(folder, 'documents.ts'), inMemory)
  const { redis, Scanned, documents, archive } = (await import(join(folder, 'documents.ts'))) as Program
  onTestFinished(() => redis.close())
  const printed: unknown[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...shown) => void printed.push(shown))
  onTestFinished(() => log.mockRestore())

  await documents.publish(Scanned, { id: 'd-1', text: 'x'.repeat(100_000) })
  const report = await poll(archive, { redis })

  expect([report.acked, printed]).toEqual([1, [['d-1', 100_000]]])
  expect(JSON.stringify(await raw.xrange('documents', '-', '+')).length).toBeLessThan(500)
})
