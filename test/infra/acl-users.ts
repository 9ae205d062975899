import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { onTestFinished } from 'vitest'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'

const FILE = join(import.meta.dirname, '../../infra/redis-acl.txt')
const PASSWORD = 'only-in-tests'

/** A user as `infra/redis-acl.txt` has it. */
export interface AclUser {
  readonly name: string
  /** A selector is one of them. */
  readonly rules: readonly string[]
  /** The same for a server without selectors. */
  readonly flat: readonly string[]
  /** Key patterns; those that may only be read keep their `%R~`. */
  readonly keys: readonly string[]
  /** Commands as the ACL names them: `xack`, `xinfo|groups`. */
  readonly commands: readonly string[]
}

export async function readAclUsers(file = FILE): Promise<ReadonlyMap<string, AclUser>> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map(parseUser).map((user) => [user.name, user]))
}

function parseUser(line: string): AclUser {
  const [keyword, name, ...rules] = line.match(/\([^)]*\)|\S+/g) ?? []
  if (keyword !== 'user' || name === undefined) throw new Error(`Not a user: ${line}`)
  const words = rules.flatMap((rule) => rule.replace(/[()]/g, '').split(' '))
  const starting = (sign: string) => words.filter((rule) => rule.startsWith(sign)).map((rule) => rule.slice(1))
  return {
    name,
    rules,
    flat: [...new Set(words)],
    keys: rules.filter((rule) => /^(%R)?~/.test(rule)).map((rule) => rule.replace(/^~/, '')),
    commands: [...new Set(starting('+'))],
  }
}

/** Makes the users on a server, as the file says, or as it says for a server without selectors, with a password. */
export async function createAclUsers(
  admin: Redis,
  form: 'rules' | 'flat' = 'rules',
  file: string = FILE,
): Promise<void> {
  for (const user of (await readAclUsers(file)).values())
    await admin.call('ACL', 'SETUSER', user.name, 'reset', `>${PASSWORD}`, ...user[form])
}

/** Where a server is, for one of the users. */
export function urlOf({ host, port }: Pick<PrivateRedis, 'host' | 'port'>, user: string): string {
  return `redis://${user}:${PASSWORD}@${host}:${port}`
}

/** Commands that a rule allows, a selector's too. */
export function wordsOf(rule: string): string[] {
  const words = rule.replace(/[()]/g, '').split(' ')
  return words.filter((word) => word.startsWith('+')).map((word) => word.slice(1))
}

/** Of commands, each by a user of the file on a server of its own: those that are not refused for want of a right, with what came instead. */
export async function takenBy(
  tried: readonly (readonly [user: string, command: string])[],
): Promise<readonly (readonly [user: string, command: string, answer: string])[]> {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  const owner = new Redis(server.url)
  await createAclUsers(owner)
  owner.disconnect()
  const answers: [string, string, string][] = []
  for (const [user, command] of tried) {
    const client = new Redis(urlOf(server, user), { enableReadyCheck: false, disableClientInfo: true, protocol: 2 })
    const [word = '', ...args] = command.split(' ')
    const answer = await client.call(word, ...args).then(
      () => 'none',
      (error: Error) => error.message.split(' ')[0] as string,
    )
    client.disconnect()
    answers.push([user, command, answer])
  }
  return answers.filter(([, , answer]) => answer !== 'NOPERM')
}
