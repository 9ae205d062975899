import { expect, test } from 'vitest'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

test('a virtual clock stands still until it is advanced', async () => {
  const clock = createVirtualClock({ startMs: 1_000 })
  const before = [clock.now(), clock.monotonic()]
  await clock.advance(250)
  expect([before, clock.now(), clock.monotonic() - (before[1] ?? 0)]).toEqual([[1_000, 1_000], 1_250, 250])
})

test('advance() calls back what is due in the order of time, each at its own', async () => {
  const clock = createVirtualClock({ startMs: 0 })
  const calls: (readonly [name: string, at: number])[] = []
  for (const [name, ms] of [
    ['late', 30],
    ['first', 10],
    ['second', 10],
    ['after', 31],
  ] as const)
    clock.after(ms, () => calls.push([name, clock.now()]))
  await clock.advance(30)
  expect(calls).toEqual([
    ['first', 10],
    ['second', 10],
    ['late', 30],
  ])
})

test('advance() lets promises run that a callback settled, and calls back what they set for then', async () => {
  const clock = createVirtualClock({ startMs: 0 })
  const sleep = (ms: number) => new Promise<void>((resolve) => clock.after(ms, resolve))
  const woken: number[] = []
  const run = async () => {
    for (let n = 0; n < 3; n++) {
      await sleep(10)
      woken.push(clock.now())
    }
  }
  const running = run()
  await clock.advance(25)
  expect(woken).toEqual([10, 20])
  await clock.advance(5)
  expect(woken).toEqual([10, 20, 30])
  await running
})

test('after() calls back nothing that was cancelled', async () => {
  const clock = createVirtualClock()
  const calls: string[] = []
  const cancel = clock.after(10, () => calls.push('cancelled'))
  clock.after(5, cancel)
  await clock.advance(20)
  expect(calls).toEqual([])
})

test('advance() refuses to go back', async () => {
  await expect(createVirtualClock().advance(-1)).rejects.toThrow(
    new RangeError('Cannot advance the clock: ms must be >= 0, got -1'),
  )
})
