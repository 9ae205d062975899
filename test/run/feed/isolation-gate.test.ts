import { expect, test } from 'vitest'
import type { IsolationGate } from '../../../src/run/feed/isolation-gate.ts'
import { createIsolationGate } from '../../../src/run/feed/isolation-gate.ts'

/** Work that says when it starts, and ends when the test says so. */
function works() {
  const log: string[] = []
  const ends = new Map<string, () => void>()
  const work = (name: string) => () =>
    new Promise<void>((resolve) => {
      log.push(name)
      ends.set(name, resolve)
    })
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  const end = async (name: string) => {
    ends.get(name)?.()
    await settle()
  }
  return { log, work, end, settle }
}

test('a gate lets work run together', async () => {
  const { log, work, settle } = works()
  const gate = createIsolationGate(2)
  void gate.together(work('a'))
  void gate.together(work('b'))
  await settle()
  expect(log).toEqual(['a', 'b'])
})

test('a gate lets work run alone: after what runs, before what comes later', async () => {
  const { log, work, end, settle } = works()
  const gate = createIsolationGate(2)
  void gate.together(work('a'))
  void gate.alone(work('alone'))
  void gate.together(work('b'))
  void gate.alone(work('alone too'))
  await settle()
  expect(log).toEqual(['a'])
  await end('a')
  expect(log).toEqual(['a', 'alone'])
  await end('alone')
  expect(log).toEqual(['a', 'alone', 'b'])
  await end('b')
  expect(log).toEqual(['a', 'alone', 'b', 'alone too'])
})

test('a gate passes failures on, and opens after them', async () => {
  const gate = createIsolationGate(2)
  const fail = () => Promise.reject(new Error('no'))
  await expect(gate.together(fail)).rejects.toThrow('no')
  await expect(gate.alone(fail)).rejects.toThrow('no')
  await expect(gate.together(async () => {})).resolves.toBeUndefined()
})

test('a gate whose turn is solitary work first holds shared work back for one piece', async () => {
  const { log, work, end, settle } = works()
  const gate = createIsolationGate(2, true)
  const patience = new Promise<void>(() => {})
  const first = gate.arrive(false, patience).then(() => gate.together(work('together')))
  await settle()
  expect(log).toEqual([]) // nobody knows yet what the other one has
  const second = gate.arrive(true, patience).then(() => gate.alone(work('alone')))
  await settle()
  expect(log).toEqual(['alone'])
  await end('alone')
  expect(log).toEqual(['alone', 'together'])
  await end('together')
  await Promise.all([first, second])
})

test.each([
  ['nobody has any', (gate: IsolationGate) => gate.arrive(false, new Promise(() => {}))],
  [
    'it is no longer wanted',
    (gate: IsolationGate) => gate.arrive(true, new Promise(() => {})).then(() => gate.leave()),
  ],
])('a gate whose turn is to let work alone first lets work together start where %s', async (_where, other) => {
  const { log, work, settle } = works()
  const gate = createIsolationGate(2, true)
  void gate.arrive(false, new Promise(() => {})).then(() => gate.together(work('together')))
  await other(gate)
  await settle()
  expect(log).toEqual(['together'])
})
