import { expect, test } from 'vitest'
import { joinTemplateJson, joinTemplateText } from '../../src/deploy/join.ts'

const reference = { 'Fn::GetAtt': ['PollerFn', 'Arn'] }

test('joinTemplateText() answers a string where every part is known', () => {
  expect(joinTemplateText('a', 'b', 'c')).toBe('abc')
})

test('joinTemplateText() leaves it to CloudFormation where a reference is among the parts', () => {
  expect(joinTemplateText('a', 'b', reference, 'c')).toEqual({ 'Fn::Join': ['', ['ab', reference, 'c']] })
})

test('joinTemplateJson() is JSON once the references are known, whatever else the texts hold', () => {
  const document = { 'a"b': ['\\u0000', '{{x}}', 1, { arn: reference }, reference, { Ref: 'A', b: 1 }] }
  const [, parts] = (joinTemplateJson(document) as { 'Fn::Join': [string, unknown[]] })['Fn::Join']
  const text = parts.map((part) => (part === reference ? 'arn:x' : part)).join('')

  expect(JSON.parse(text)).toEqual({ 'a"b': ['\\u0000', '{{x}}', 1, { arn: 'arn:x' }, 'arn:x', { Ref: 'A', b: 1 }] })
})
