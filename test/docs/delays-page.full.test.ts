import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Consumer } from 'millrace'
import { poll } from 'millrace'
import { expect, onTestFinished, test, vi } from 'vitest'
import { passDelays, promoteAll } from '../support/delays.ts'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/delays.md'), 'utf8')
const [, program = ''] = /```ts\n(\/\/ reminders\.ts\n.*?)```/s.exec(page) ?? []

interface Program {
  readonly reminders: Consumer
  remind(orderId: string): Promise<void>
  paid(orderId: string): Promise<void>
}

test('the program of docs/delays.md reminds of what is not paid, and of nothing else', async () => {
  const { server, redis, raw } = await startScenario()
  const printed: unknown[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((text) => void printed.push(text))
  onTestFinished(() => log.mockRestore())
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'delays-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'reminders.ts'), program.replace('redis://127.0.0.1', server.url))
  const { remind, paid, reminders } = (await import(join(folder, 'reminders.ts'))) as Program

  await remind('o-1')
  await remind('o-2')
  await paid('o-1')
  await passDelays(raw, 86_400_000)
  await promoteAll(redis, reminders.delays)
  await poll(reminders, { redis })
  await paid('o-2')

  expect(printed).toEqual([expect.any(Date), expect.any(Date), 'cancelled', 'o-2', 'too-late'])
})
