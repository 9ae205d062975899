import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { confirm } from '../../src/cli/confirm.ts'

async function answered(typed: string | undefined, abort = false): Promise<boolean> {
  const stop = new AbortController()
  const input = new PassThrough()
  const answer = confirm('Sure? ', 'drop', { input, output: new PassThrough(), signal: stop.signal })
  if (abort) stop.abort()
  else input.end(typed)
  return answer
}

test.each([
  ['the word', 'drop\n', true],
  ['another word', 'yes\n', false],
  ['nothing', '\n', false],
  ['the end of the input', '', false],
])('%s typed is an answer', async (_title, typed, isMeant) => {
  expect(await answered(typed)).toBe(isMeant)
})

test('a Ctrl-C is a no', async () => {
  expect(await answered(undefined, true)).toBe(false)
})
