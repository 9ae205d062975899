import { expect, it } from 'vitest'
import { RedisReplyError } from '../../../src/errors.ts'
import { CallSender } from '../../../src/group/redis/sender.ts'
import type { RedisCommand, Transport } from '../../../src/group/redis/transport.ts'

const call = { script: { keyCount: 1, lua: 'return 1' }, keys: ['orders'], args: [] }

/** A cluster of which the hash slot moves, after that many commands each time, to a node that knows no script. */
function startMoving(movesAfter: readonly number[]) {
  let [sent, isKnown] = [0, false]
  const names: string[][] = []
  const answer = ([name]: RedisCommand) => {
    if (movesAfter.includes(sent++)) isKnown = false
    if (name === 'evalsha' && !isKnown) return new RedisReplyError('NOSCRIPT No matching script. Please use EVAL.')
    isKnown = true
    return 1
  }
  const transport: Transport = {
    scriptPrefix: '',
    send: async (commands) => {
      names.push(commands.map(([name]) => name))
      return commands.map(answer)
    },
    close: async () => {},
  }
  return { sender: new CallSender(transport), names }
}

it('ask() sends a script’s text again where its hash slot moves between the calls', async () => {
  const { sender, names } = startMoving([5])

  expect(await sender.ask([call, call, call, call])).toEqual([1, 1, 1, 1])

  expect(names).toEqual([
    ['evalsha', 'evalsha', 'evalsha', 'evalsha'],
    ['eval', 'evalsha', 'evalsha', 'evalsha'],
    ['eval', 'evalsha', 'evalsha'],
  ])
})

it('ask() gives up on a script that is forgotten each time', async () => {
  const { sender, names } = startMoving([5, 9])

  const answers = await sender.ask([call, call, call, call])

  expect(answers.map((answer) => answer instanceof RedisReplyError)).toEqual([false, false, true, true])
  expect(names).toHaveLength(3)
})
