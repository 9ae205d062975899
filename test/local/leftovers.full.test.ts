import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { aFunction, isRunning, startLambda } from '../support/local-lambda.ts'

/** Starts a process of its own, and reports both; may hang after that, or block. */
const PARENT = `import { spawn } from 'node:child_process'
const { pid } = spawn('sleep', ['60'], { stdio: 'inherit' })
export const handler = async ({ what }) => {
  console.log('pids', process.pid, pid)
  if (what === 'hang') await new Promise((done) => setTimeout(done, 60_000))
  if (what === 'loop') for (;;);
  if (what === 'exit') process.exit(0)
}`

test('close() ends what is frozen, what is busy, and what they started, and closes the port', async () => {
  const lambda = await startLambda({ functions: [await aFunction(PARENT, { timeoutMs: 60_000 })] })
  const hanging = lambda.invoke('fn', { what: 'hang' })
  await lambda.said(/pids/)
  await lambda.invoke('fn')
  const pids = lambda.lines.flatMap((line) => /pids (\d+) (\d+)/.exec(line)?.slice(1).map(Number) ?? [])
  expect(pids.map(isRunning)).toEqual([true, true, true, true])

  await lambda.close()

  expect([isRunning(pids[0]), isRunning(pids[2])]).toEqual([false, false])
  // what they started is killed as well, and reaped by the system when it gets to it
  while (pids.some(isRunning)) await sleep(5)
  await expect(fetch(lambda.url)).rejects.toThrow()
  expect((await hanging).payload).toMatchObject({ errorType: 'Runtime.ExitError' })
})

test('what a function started ends with it, and does not hold up the answer', async () => {
  const lambda = await startLambda({ functions: [await aFunction(PARENT)] })

  const { payload } = await lambda.invoke('fn', { what: 'exit' })

  expect(payload).toMatchObject({ errorMessage: expect.stringContaining('Runtime exited without providing a reason') })
  const [, , started] = /pids (\d+) (\d+)/.exec(await lambda.said(/pids/)) ?? []
  while (isRunning(Number(started))) await sleep(5)
})

test('close() ends what is starting, and what waits to be tried again', async () => {
  const failing = `export const handler = async () => { throw new Error('no') }`
  const lambda = await startLambda({
    functions: [
      await aFunction(`await new Promise(() => setInterval(() => {}, 1_000))`),
      await aFunction(failing, { name: 'failing' }),
    ],
  })
  const starting = lambda.invoke('fn')
  await lambda.invoke('failing', {}, { type: 'Event' })
  await lambda.said(/REPORT/)

  await lambda.close()

  expect((await starting).functionError).toBe('Unhandled')
  expect(lambda.environments('fn')).toEqual([])
})

test('a local Lambda whose process is killed leaves no process', async () => {
  const { codeFolder } = await aFunction(PARENT)
  const child = spawn(process.execPath, ['--input-type=module', '--eval', HOST, codeFolder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const pids: number[] = []
  for await (const line of createInterface(child.stdout)) {
    pids.push(...line.split(' ').map(Number))
    if (pids.length === 6) break
  }
  expect(pids.map(isRunning)).toEqual(pids.map(() => true))

  child.kill('SIGKILL')
  await once(child, 'exit')

  while (pids.some(isRunning)) await sleep(10)
})

/** A process with three environments: one frozen, one that waits, one in a busy loop. */
const HOST = `
import { startLocalLambda } from ${JSON.stringify(new URL('../../dist/local/local-lambda.js', import.meta.url).href)}
const definition = { handler: 'main.handler', codeFolder: process.argv[1], timeoutMs: 60_000, memoryMb: 256 }
const lambda = await startLocalLambda({
  functions: ['frozen', 'hang', 'loop'].map((name) => ({ ...definition, name })),
  onLog({ text }) { const [, ...pids] = /pids (\\d+) (\\d+)/.exec(text) ?? []; if (pids.length) console.log(...pids) },
})
await lambda.invoke('frozen')
void lambda.invoke('hang', { what: 'hang' })
void lambda.invoke('loop', { what: 'loop' })`
