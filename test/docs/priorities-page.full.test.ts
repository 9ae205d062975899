import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Connection, ConsumerSet, EventDefinition, Publisher } from 'millrace'
import { poll } from 'millrace'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/priorities.md'), 'utf8')

interface Program {
  readonly redis: Connection
  readonly Requested: EventDefinition
  readonly jobs: Publisher
  readonly work: ConsumerSet
}

test('the program of docs/priorities.md publishes by priority, and runs what is high first', async () => {
  const { server } = await startScenario()
  const [, program = ''] = /```ts\n(\/\/ jobs\.ts\n.*?)```/s.exec(page) ?? []
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'priorities-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'jobs.ts'), program.replace('redis://127.0.0.1', server.url))
  const { redis, Requested, jobs, work } = (await import(join(folder, 'jobs.ts'))) as Program
  onTestFinished(() => redis.close())
  const printed: unknown[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...shown) => void printed.push(shown))
  onTestFinished(() => log.mockRestore())

  await jobs.publish(Requested, { id: 'plain' })
  await jobs.publish(Requested, { id: 'reset' }, { priority: 'high' })
  const report = await poll(work, { redis })

  expect(report.acked).toBe(2)
  expect(printed).toEqual([
    ['reset', '{jobs}:high'],
    ['plain', '{jobs}:normal'],
  ])
})
