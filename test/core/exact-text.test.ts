import { describe, expect, it } from 'vitest'
import { exactText, sharedText } from '../../src/core/exact-text.ts'

const bytes = (text: string) => Buffer.from(text)

describe('sharedText()', () => {
  it('gives each text its own, whatever had its place before', () => {
    const texts = Array.from({ length: 2_000 }, (_, n) => `Type${n % 700}-${'x'.repeat(n % 9)}`)

    expect([...texts, ...texts].map((text) => sharedText(bytes(text), 'eventType'))).toEqual([...texts, ...texts])
  })

  it('tells texts apart that agree in length, first and last character', () => {
    expect(['OrderPaid', 'OrderVoid', 'OrderPaid', 'Order aid'].map((text) => sharedText(bytes(text), 'x'))).toEqual([
      'OrderPaid',
      'OrderVoid',
      'OrderPaid',
      'Order aid',
    ])
  })

  it('keeps what it gave though the memory it was read from is used again', () => {
    const chunk = bytes('Reused')
    sharedText(chunk, 'eventType')
    chunk.write('Raised')

    expect([sharedText(chunk, 'eventType'), sharedText(bytes('Reused'), 'eventType')]).toEqual(['Raised', 'Reused'])
  })

  it.each([
    ['an empty one', ''],
    ['a long one', 'y'.repeat(500)],
    ['one of more bytes than characters', '注文済み'],
    ['a replacement character of its own', 'a\uFFFDb'],
  ])('gives %s as it is', (_what, text) => {
    expect([sharedText(bytes(text), 'x'), sharedText(bytes(text), 'x'), sharedText(text, 'x')]).toEqual([
      text,
      text,
      text,
    ])
  })

  it.each([sharedText, exactText])('refuses bytes that are no UTF-8, each time', (read) => {
    const wrong = Buffer.from([0x4f, 0xff, 0x64])
    for (const _time of [1, 2]) expect(() => read(wrong, 'eventType')).toThrow('Field "eventType" must be UTF-8')
  })
})
