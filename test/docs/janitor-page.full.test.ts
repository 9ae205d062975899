import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { mockClient } from 'aws-sdk-client-mock'
import { expect, it, onTestFinished, vi } from 'vitest'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/janitor.md'), 'utf8')
const [janitor = '', reader = ''] = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code)

/** Runs a program of the page as a module of the package. */
async function load(name: string, code: string): Promise<{ readonly handler?: () => Promise<unknown> }> {
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'janitor-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, name), code)
  return import(join(folder, name))
}

it('the programs of docs/janitor.md archive, trim and read back', async () => {
  const { server, raw } = await startScenario()
  const objects = new Map<string, Uint8Array>()
  const s3 = mockClient(S3Client)
  const printed = vi.spyOn(console, 'log').mockReturnValue(undefined)
  vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  onTestFinished(() => {
    s3.restore()
    vi.restoreAllMocks()
  })
  s3.on(PutObjectCommand).callsFake(({ Key, Body }) => {
    objects.set(Key, Body)
    return {}
  })
  s3.on(ListObjectsV2Command).callsFake(() => ({ Contents: [...objects.keys()].map((Key) => ({ Key })) }))
  s3.on(GetObjectCommand).callsFake(({ Key }) => ({ Body: { transformToByteArray: async () => objects.get(Key) } }))
  await raw.xadd('orders', '1-0', 'old', 'x')
  await raw.xadd('orders', '1700000000001-0', 'a', 'b')
  await raw.xadd('orders', '*', 'new', 'x')
  for (const group of ['billing', 'search']) await raw.xgroup('CREATE', 'orders', group, '$')

  const { handler } = await load('janitor.ts', janitor.replace('rediss://…', server.url))
  const report = await handler?.()
  await load('reader.ts', reader)

  expect(report).toMatchObject({ archived: 2, trimmed: 2, kept: 1 })
  expect([...objects.keys()]).toEqual(['orders/1-0_1700000000001-0.ndjson.gz'])
  expect(printed.mock.calls).toContainEqual(['1700000000001-0', 1])
})
