import { expect, test } from 'vitest'
import { ProgressBar } from '../../../src/cli/text/progress-bar.ts'

function drawn(isTTY: boolean): string[] {
  const texts: string[] = []
  const bar = new ProgressBar({ isTTY, write: (text) => texts.push(text.replaceAll('\u001B', '^')) })
  bar.draw(5, 10, '2 fit')
  bar.draw(12, 10, '3 fit')
  bar.clear()
  return texts
}

test('a bar is drawn on one line of a terminal', () => {
  expect(drawn(true)).toEqual([
    '\r^[2K[###############...............] 5 of 10, 2 fit',
    '\r^[2K[##############################] 12 of 10, 3 fit',
    '\r^[2K',
  ])
})

test('nothing is drawn where there is no terminal', () => {
  expect(drawn(false)).toEqual([])
})
