import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname

interface Program {
  deposit(aggregateId: string, cents: number): Promise<void>
  withdraw(aggregateId: string, cents: number): Promise<string>
}

test('the program of docs/event-sourcing.md pays out what is there, and no more, to many at once', async () => {
  const { server, raw } = await startScenario()
  const page = await readFile(join(root, 'docs/event-sourcing.md'), 'utf8')
  const [, program = ''] = /```ts\n(\/\/ withdraw\.ts\n.*?)```/s.exec(page) ?? []
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'sourcing-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'withdraw.ts'), program.replace('redis://127.0.0.1', server.url))
  const { deposit, withdraw } = (await import(join(folder, 'withdraw.ts'))) as Program
  await deposit('a', 100)

  const answers = await Promise.all(Array.from({ length: 10 }, () => withdraw('a', 30)))

  expect(answers.toSorted()).toEqual([...Array(3).fill('done'), ...Array(7).fill('refused')])
  expect(await raw.xlen('accounts')).toBe(4)
})
