import { expect, test } from 'vitest'
import { parseScan, scan } from '../../../../src/group/redis/commands/scan.ts'

test('scan() asks for streams alone', () => {
  expect(scan('0', 1_000)).toEqual(['scan', '0', 'COUNT', 1_000, 'TYPE', 'stream'])
})

test('parseScan() reads cursor and keys', () => {
  expect(parseScan([Buffer.from('17'), [Buffer.from('orders'), 'returns']])).toEqual({
    cursor: '17',
    keys: ['orders', 'returns'],
  })
})
