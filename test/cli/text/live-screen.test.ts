import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { createLiveScreen, fitLinesToTerminal } from '../../../src/cli/text/live-screen.ts'

/** A terminal that notes what is written. */
class FakeTerminal extends EventEmitter {
  isTTY = true
  columns = 40
  rows = 4
  written: string[] = []

  write(text: string): void {
    this.written.push(text.replaceAll('\x1b', 'ESC'))
  }
}

const ENTER = 'ESC[?1049hESC[?25l'
const LEAVE = 'ESC[?25hESC[?1049l'

test('a picture is drawn over the last one, and the terminal is restored once', () => {
  const terminal = new FakeTerminal()
  const screen = createLiveScreen(terminal)
  screen.show(['one', 'two'])
  screen.show(['three'])
  screen.close()
  screen.close()
  screen.show(['late'])

  expect(terminal.written).toEqual([ENTER, 'ESC[HESC[Kone\r\nESC[Ktwo\r\nESC[J', 'ESC[HESC[Kthree\r\nESC[J', LEAVE])
  expect([terminal.listenerCount('resize'), process.listeners('exit').some(({ name }) => name === 'close')]).toEqual([
    0,
    false,
  ])
})

test('a resized terminal gets the picture again, cut to its new size', () => {
  const terminal = new FakeTerminal()
  const screen = createLiveScreen(terminal)
  screen.show(['\x1b[1mlong enough\x1b[22m', 'two', 'three', 'four'])
  Object.assign(terminal, { columns: 6, rows: 3 })
  terminal.emit('resize')
  screen.close()

  expect(terminal.written.slice(1, -1)).toEqual([
    'ESC[HESC[KESC[1mlong enoughESC[22m\r\nESC[Ktwo\r\nESC[Kthree\r\nESC[Kfour',
    'ESC[HESC[Klong …\r\nESC[Ktwo\r\nESC[K… 2 mo',
  ])
})

test('a terminal that does not know its size is taken for one of 80 by 24', () => {
  const terminal = Object.assign(new FakeTerminal(), { columns: 0, rows: 0 })
  const screen = createLiveScreen(terminal)
  screen.show(['one', 'two'])
  screen.close()

  expect(terminal.written[1]).toBe('ESC[HESC[Kone\r\nESC[Ktwo\r\nESC[J')
})

test('what ends the program gives the terminal back, too', () => {
  const terminal = new FakeTerminal()
  createLiveScreen(terminal).show([])
  const close = process.listeners('exit').find(({ name }) => name === 'close')
  close?.(0)

  expect(terminal.written.at(-1)).toBe(LEAVE)
  expect(process.listeners('exit')).not.toContain(close)
})

test('elsewhere block follows block, without control sequences', () => {
  const terminal = Object.assign(new FakeTerminal(), { isTTY: false })
  const screen = createLiveScreen(terminal)
  screen.show(['one', 'two'])
  screen.show(['three'])
  screen.close()

  expect(terminal.written).toEqual(['one\ntwo\n\n', 'three\n\n'])
})

test.each([
  [['abc', 'd'], 3, 2, ['abc', 'd']],
  [['abcd'], 3, 1, ['ab…']],
  [['a', 'b', 'c'], 20, 2, ['a', '… 2 more lines']],
  [['a', 'b'], 20, 1, ['… 2 more lines']],
])('fitLines() makes %j fit %i columns and %i rows', (lines, columns, rows, fitted) => {
  expect(fitLinesToTerminal(lines, columns, rows)).toEqual(fitted)
})
