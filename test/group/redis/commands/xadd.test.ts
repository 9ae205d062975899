import { describe, expect, test } from 'vitest'
import type { Field } from '../../../../src/core/entry.ts'
import type { StreamTrim } from '../../../../src/group/connection.ts'
import { xadd } from '../../../../src/group/redis/commands/xadd.ts'

const fields: Field[] = [['a', '1']]

describe('xadd()', () => {
  test.each<[trim: StreamTrim, args: (string | number)[]]>([
    [{ kind: 'none' }, []],
    [{ kind: 'length', maxLength: 5, exact: false }, ['MAXLEN', '~', 5]],
    [{ kind: 'length', maxLength: 5, exact: true }, ['MAXLEN', '=', 5]],
    [{ kind: 'age', retentionMs: 1_000, exact: false }, ['MINID', '~', 9_000]],
    [{ kind: 'age', retentionMs: 999.5, exact: true }, ['MINID', '=', 9_000]],
    [{ kind: 'age', retentionMs: 10_001, exact: true }, ['MINID', '=', 0]],
  ])('trims by %j', (trim, args) => {
    expect(xadd('orders', fields, trim, 10_000)).toEqual(['xadd', 'orders', ...args, '*', 'a', '1'])
  })

  test('trims nothing by age before the server’s time is known', () => {
    expect(xadd('orders', fields, { kind: 'age', retentionMs: 1, exact: true })).toEqual([
      'xadd',
      'orders',
      '*',
      'a',
      '1',
    ])
  })

  test('writes fields in order, repeated ones too, and bytes as they are', () => {
    const binary = Buffer.from([0xff, 0])
    const command = xadd(
      'orders',
      [
        ['a', '1'],
        ['a', ''],
        [binary, binary],
      ],
      { kind: 'none' },
    )

    expect(command).toEqual(['xadd', 'orders', '*', 'a', '1', 'a', '', binary, binary])
  })
})
