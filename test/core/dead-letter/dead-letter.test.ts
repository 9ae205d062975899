import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deadLetterHeadFields, MAX_ERROR_BYTES } from '../../../src/core/dead-letter/dead-letter.ts'
import type { DeadLetterFacts } from '../../../src/core/outcome.ts'
import { InvalidPayloadError, NonRetryableError } from '../../../src/errors.ts'

const origin = { stream: 'orders', group: 'billing', consumerName: 'poller-0', entryId: '5-1', deliveryCount: 3 }
const someFacts: DeadLetterFacts = { reason: 'max-deliveries', lastDeliveredAt: 0, failedAt: 1_500 }

function pairsOf(head: readonly string[]): [string, string][] {
  return Array.from({ length: head.length / 2 }, (_, n) => [head[2 * n] as string, head[2 * n + 1] as string])
}

function lettersOf(error: unknown): Record<string, string> {
  return Object.fromEntries(pairsOf(deadLetterHeadFields(origin, { ...someFacts, error })))
}

/** The texts of the error in its dead letter. */
function textsOf(error: unknown): { name: string; message: string; stack: string } {
  const { errorName = '', errorMessage = '', errorStack = '' } = lettersOf(error)
  return { name: errorName, message: errorMessage, stack: errorStack }
}

describe('deadLetterHeadFields()', () => {
  test('gives every field in its order', () => {
    const error = new NonRetryableError('card declined')
    error.stack = 'NonRetryableError: card declined\n    at here'
    const head = deadLetterHeadFields(origin, {
      reason: 'non-retryable',
      error,
      eventId: 'e-1',
      eventType: 'OrderPaid',
      schemaVersion: 2,
      traceparent: '00-1-2-01',
      lastDeliveredAt: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
      failedAt: Date.UTC(2026, 0, 2, 3, 4, 6, 0),
    })

    expect(pairsOf(head)).toEqual([
      ['originalStream', 'orders'],
      ['originalId', '5-1'],
      ['group', 'billing'],
      ['consumer', 'poller-0'],
      ['eventId', 'e-1'],
      ['eventType', 'OrderPaid'],
      ['schemaVersion', '2'],
      ['reason', 'non-retryable'],
      ['errorName', 'NonRetryableError'],
      ['errorMessage', 'card declined'],
      ['errorStack', 'NonRetryableError: card declined\n    at here'],
      ['deliveryCount', '3'],
      ['lastDeliveredAt', '2026-01-02T03:04:05.006Z'],
      ['failedAt', '2026-01-02T03:04:06.000Z'],
      ['traceparent', '00-1-2-01'],
    ])
  })

  test('leaves a field empty where there is nothing to say', () => {
    const head = deadLetterHeadFields(origin, someFacts)

    expect(pairsOf(head)).toEqual([
      ['originalStream', 'orders'],
      ['originalId', '5-1'],
      ['group', 'billing'],
      ['consumer', 'poller-0'],
      ['eventId', ''],
      ['eventType', ''],
      ['schemaVersion', ''],
      ['reason', 'max-deliveries'],
      ['errorName', ''],
      ['errorMessage', ''],
      ['errorStack', ''],
      ['deliveryCount', '3'],
      ['lastDeliveredAt', '1970-01-01T00:00:00.000Z'],
      ['failedAt', '1970-01-01T00:00:01.500Z'],
      ['traceparent', ''],
    ])
  })

  const circular: Record<string, unknown> = {}
  circular.itself = circular
  const withoutText = {
    [Symbol.toPrimitive]() {
      throw new Error('no')
    },
    toJSON() {
      throw new Error('no')
    },
  }
  const unreadable = () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  }
  const thrown: [title: string, error: unknown, texts: { name: string; message: string }][] = [
    ['nothing', undefined, { name: '', message: '' }],
    ['null', null, { name: 'object', message: 'null' }],
    ['a string', 'no', { name: 'string', message: 'no' }],
    ['an empty string', '', { name: 'string', message: '' }],
    ['a number', 42, { name: 'number', message: '42' }],
    ['a bigint', 42n, { name: 'bigint', message: '42' }],
    ['a symbol', Symbol('no'), { name: 'symbol', message: 'Symbol(no)' }],
    ['an object', { status: 503 }, { name: 'object', message: '{"status":503}' }],
    ['a frozen array', Object.freeze([1]), { name: 'object', message: '[1]' }],
    ['an object without a prototype', Object.create(null), { name: 'object', message: '{}' }],
    ['an object that is no JSON', { toJSON: () => undefined }, { name: 'object', message: 'object' }],
    [
      'an error of another realm',
      { name: 'RangeError', message: 'far', stack: '' },
      { name: 'RangeError', message: 'far' },
    ],
    [
      'an error whose message is no string',
      Object.assign(new Error('x'), { message: { a: 1 } }),
      { name: 'object', message: '{}' },
    ],
    ['a value whose members throw', unreadable(), { name: 'object', message: 'a value that cannot be read' }],
    [
      'a schema’s refusal',
      Object.assign(new InvalidPayloadError('A', [{ path: 'b', message: 'no string' }]), { stack: '' }),
      {
        name: 'InvalidPayloadError',
        message: 'Payload of "A" must fit its schema, which refuses b: b: no string',
      },
    ],
    ['a circular object', circular, { name: 'object', message: 'a value that cannot be read' }],
    ['an object that refuses to be text', withoutText, { name: 'object', message: 'a value that cannot be read' }],
  ]
  test.each(thrown)('describes %s, thrown', (_title, error, texts) => {
    expect(textsOf(error)).toEqual({ ...texts, stack: '' })
  })

  test('describes an error without a stack', () => {
    const error = new TypeError('no')
    delete (error as { stack?: string }).stack

    expect(textsOf(error)).toEqual({ name: 'TypeError', message: 'no', stack: '' })
  })

  test('keeps an error text of 8,192 bytes whole and cuts one of 8,193', () => {
    const whole = 'x'.repeat(8_192)

    expect([textsOf(whole).message, textsOf(`${whole}y`).message]).toEqual([whole, whole])
  })

  test.each([
    ['é', 1],
    ['€', 1],
    ['€', 2],
    ['🦊', 1],
    ['🦊', 2],
    ['🦊', 3],
  ])('cuts before the %s that has only %d bytes left', (character, left) => {
    const head = 'x'.repeat(MAX_ERROR_BYTES - left)

    expect(textsOf(`${head}${character} and more`).message).toBe(head)
  })

  test('cuts to a beginning of the text, of whole characters, as long as it may be', () => {
    const long = fc.array(fc.constantFrom('a', 'é', '€', '🦊'), { minLength: 1, maxLength: 30 }).map((characters) => {
      const piece = characters.join('')
      return piece.repeat(Math.floor(MAX_ERROR_BYTES / Buffer.byteLength(piece)) + 1)
    })
    fc.assert(
      fc.property(long, (text) => {
        const { message } = textsOf(text)
        const next = String.fromCodePoint(text.codePointAt(message.length) as number)
        expect(text.startsWith(message)).toBe(true)
        expect(Buffer.byteLength(message)).toBeLessThanOrEqual(MAX_ERROR_BYTES)
        expect(Buffer.byteLength(message + next)).toBeGreaterThan(MAX_ERROR_BYTES)
        expect(Buffer.from(message).toString()).toBe(message)
      }),
    )
  })

  test('cuts message and stack of an error each by itself', () => {
    const error = new Error('m'.repeat(10_000))
    error.stack = 's'.repeat(10_000)

    expect(textsOf(error)).toEqual({ name: 'Error', message: 'm'.repeat(8_192), stack: 's'.repeat(8_192) })
  })
})
