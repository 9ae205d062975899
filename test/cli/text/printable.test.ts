import { expect, test } from 'vitest'
import { printable, printableJson } from '../../../src/cli/text/printable.ts'

test.each([
  ['a colour', 'a\u001B[31mred', 'a\\u{1b}[31mred'],
  ['a new line', 'a\r\nb', 'a\\u{d}\\u{a}b'],
  ['a control of eight bits', 'a\u009B2J', 'a\\u{9b}2J'],
  ['a direction', 'a\u202Ecod.exe', 'a\\u{202e}cod.exe'],
  ['a line separator', 'a\u2028b', 'a\\u{2028}b'],
  ['half a character', 'a\uD800b', 'a\\u{d800}b'],
  ['what shows', 'Grüße ✓ 日本 \\', 'Grüße ✓ 日本 \\'],
])('printable() makes %s harmless', (_title, text, shown) => {
  expect(printable(text)).toBe(shown)
})

test('printableJson() shows nothing but text, and means the same', () => {
  const value = { a: '\u001B[31m\u009B\u202E\u2028\u{E0001}\u007F', b: ['✓'] }
  const json = printableJson(value)

  expect(json).toMatch(/^[\u0020-\u007E✓]*$/)
  expect(JSON.parse(json)).toEqual(value)
})
