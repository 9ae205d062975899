import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/once.md'), 'utf8')
const [, program = ''] = /```ts\n(\/\/ checkout\.ts\n.*?)```/s.exec(page) ?? []

test('the program of docs/once.md publishes an order that is paid twice once', async () => {
  const { server, raw } = await startScenario()
  const printed: unknown[][] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...texts) => void printed.push(texts))
  onTestFinished(() => log.mockRestore())
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'once-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'checkout.ts'), program.replace('redis://127.0.0.1', server.url))
  const { paid } = (await import(join(folder, 'checkout.ts'))) as { paid(orderId: string): Promise<void> }

  await Promise.all([paid('o-1'), paid('o-1')])

  const [[entryId] = []] = await raw.xrange('orders', '-', '+')
  expect(printed).toEqual([
    ['o-1', 'is published as', entryId],
    ['o-1', 'was published before as', entryId],
  ])
  expect(await raw.xlen('orders')).toBe(1)
})
