import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findQuotingSentences } from '../../src/core/quotes.ts'

const SECRET = `Bob <b&b@example.com> said "ünïcode" 1234\n5678`

describe('findQuotingSentences()', () => {
  test.each<[how: string, said: string]>([
    ['as it is', SECRET],
    ['cut', `got ${SECRET.slice(0, 5)}…`],
    ['from the middle', SECRET.slice(-6, -1)],
    ['in capitals', SECRET.toUpperCase()],
    ['as JSON', JSON.stringify(SECRET)],
    ['as JSON twice', JSON.stringify(JSON.stringify(SECRET.slice(28)))],
    ['as ASCII JSON', '\\u00fcn\\u00efc'],
    ['in braces', '\\u{fc}n\\u{ef}c'],
    ['in a string of hexadecimals', '\\x62\\x26\\x62\\x40'],
    ['as a URL', encodeURIComponent(SECRET.slice(4, 20))],
    ['as a URL, all of it', '%62%26%62%40'],
    ['as HTML', '&lt;b&amp;b@'],
    ['as HTML by numbers', '&#98;&#38;&#98;&#64;'],
    ['as HTML by hexadecimals', '&#x62;&#x26;&#x62;&#x40;'],
    ['decomposed', 'ünïcode'.normalize('NFD').slice(0, 6)],
    ['letter by letter', 'e x a m p l e'],
    ['a number with its thousands apart', '12,345'],
  ])('knows a value %s', (_how, said) => {
    expect(findQuotingSentences([`expected something else, got ${said}`, 'no'], [{ deep: [{ er: SECRET }] }])).toEqual([
      true,
      false,
    ])
  })

  test.each<[kind: string, input: unknown]>([
    ['a key', { 'bob@example.com': 1 }],
    ['a key of a Map', new Map([['bob@example.com', 1]])],
    ['a value of a Map', new Map([[1, 'bob@example.com']])],
    ['a member of a Set', new Set(['bob@example.com'])],
    ['an object around a text', new String('bob@example.com')],
    ['a URL', new URL('https://bob@example.com/')],
    ['bytes', Buffer.from('bob@example.com')],
    ['a symbol', Symbol('bob@example.com')],
  ])('looks into %s', (_kind, input) => {
    expect(findQuotingSentences(['no bob@example.com here'], { input })).toEqual([true])
  })

  test('takes a number, a date and a big integer by their digits', () => {
    const input = [9_007_199, new Date(0), 12_345n]
    expect(findQuotingSentences(['9,007,199', '1970-01-01', '2345', 'received undefined'], input)).toEqual([
      true,
      true,
      true,
      false,
    ])
  })

  test('takes every sentence for one that quotes where the input cannot be read', () => {
    const hostile = {
      get name(): string {
        throw new Error('no')
      },
    }
    expect(findQuotingSentences(['expected string'], hostile)).toEqual([true])
  })

  test('says nothing of what has no four characters, of circles, and of depth', () => {
    const circle: { self?: unknown } = {}
    circle.self = circle
    let deep: unknown = 'end'
    for (let n = 0; n < 100_000; n++) deep = [deep]
    expect(findQuotingSentences(['expected abc'], ['abc', circle, deep])).toEqual([false])
  })

  test.each<[how: string, transform: (text: string) => string]>([
    ['as it is', (text) => text],
    ['in capitals', (text) => text.toUpperCase()],
    ['in small letters', (text) => text.toLowerCase()],
    ['as JSON', (text) => JSON.stringify(text)],
    ['as JSON of a text of JSON', (text) => JSON.stringify({ [text]: JSON.stringify(text) })],
    ['as ASCII', (text) => text.replace(/[^a-z]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)],
    ['as a URL', (text) => (text.isWellFormed() ? encodeURIComponent(text) : text)],
    ['as HTML', (text) => text.replace(/[&<>"']/g, (unit) => `&#${unit.charCodeAt(0)};`)],
  ])('knows any four characters in a row %s', (_how, transform) => {
    const anyText = fc.string({
      unit: fc.constantFrom(
        'a',
        'Z',
        '9',
        ' ',
        '"',
        '\\',
        '/',
        '\n',
        '%',
        '&',
        '<',
        'é',
        'e\u0301',
        'ß',
        'Σ',
        'ς',
        'İ',
        'ﬁ',
        '😀',
        'ŉ',
        '中',
      ),
      minLength: 4,
    })
    fc.assert(
      fc.property(anyText, fc.nat(), fc.nat(), (text, start, more) => {
        const from = start % (text.length - 3)
        const cut = text.slice(from, from + 4 + more)
        expect(findQuotingSentences([`must be a number, got <${transform(cut)}>`], { [text]: 1 })).toEqual([true])
      }),
      { numRuns: 2_000 },
    )
  })
})
