import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname

interface Program {
  deposit(aggregateId: string, cents: number, requestId: string): Promise<string>
  withdraw(aggregateId: string, cents: number, requestId: string): Promise<string>
}

/** The page's program, with an account that has 100. */
async function startProgram() {
  const { server, raw } = await startScenario()
  const page = await readFile(join(root, 'docs/event-sourcing.md'), 'utf8')
  const [, program = ''] = /```ts\n(\/\/ withdraw\.ts\n.*?)```/s.exec(page) ?? []
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'sourcing-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'withdraw.ts'), program.replace('redis://127.0.0.1', server.url))
  const { deposit, withdraw } = (await import(join(folder, 'withdraw.ts'))) as Program
  await deposit('a', 100, 'salary')
  return { deposit, withdraw, eventsOf: (key: string) => raw.zcard(`{accounts}::aggregate:::${key}`) }
}

test('the program of docs/event-sourcing.md pays out what is there, and no more, to many at once', async () => {
  const { withdraw, eventsOf } = await startProgram()

  const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => withdraw('a', 30, `r-${n}`)))

  expect(answers.toSorted()).toEqual([...Array(3).fill('done'), ...Array(7).fill('refused')])
  expect(await eventsOf('a')).toBe(4)
})

test('what is asked for again is done once, whatever is left by then', async () => {
  const { deposit, withdraw, eventsOf } = await startProgram()

  const answers = await Promise.all(Array.from({ length: 5 }, () => withdraw('a', 80, 'rent')))

  expect([...answers, await withdraw('a', 80, 'rent'), await deposit('a', 100, 'salary')]).toEqual(
    Array(7).fill('done'),
  )
  expect(await eventsOf('a')).toBe(2)
})
