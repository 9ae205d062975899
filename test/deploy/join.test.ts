import { expect, test } from 'vitest'
import { joinJson, joinText } from '../../src/deploy/join.ts'

const reference = { 'Fn::GetAtt': ['PollerFn', 'Arn'] }

test('joinText() answers a string where every part is known', () => {
  expect(joinText('a', 'b', 'c')).toBe('abc')
})

test('joinText() leaves it to CloudFormation where a reference is among the parts', () => {
  expect(joinText('a', 'b', reference, 'c')).toEqual({ 'Fn::Join': ['', ['ab', reference, 'c']] })
})

test('joinJson() is JSON once the references are known, whatever else the texts hold', () => {
  const document = { 'a"b': ['\\u0000', '{{x}}', 1, { arn: reference }, reference, { Ref: 'A', b: 1 }] }
  const [, parts] = (joinJson(document) as { 'Fn::Join': [string, unknown[]] })['Fn::Join']
  const text = parts.map((part) => (part === reference ? 'arn:x' : part)).join('')

  expect(JSON.parse(text)).toEqual({ 'a"b': ['\\u0000', '{{x}}', 1, { arn: 'arn:x' }, 'arn:x', { Ref: 'A', b: 1 }] })
})
