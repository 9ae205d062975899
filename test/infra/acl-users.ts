import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import type { PrivateRedis } from '../../tools/redis-server.ts'

const FILE = join(import.meta.dirname, '../../infra/redis-acl.txt')
const PASSWORD = 'only-in-tests'

/** A user as `infra/redis-acl.txt` has it. */
export interface AclUser {
  readonly name: string
  readonly rules: readonly string[]
  /** Key patterns; those that may only be read keep their `%R~`. */
  readonly keys: readonly string[]
  /** Commands as the ACL names them: `xack`, `xinfo|groups`. */
  readonly commands: readonly string[]
}

export async function readAclUsers(): Promise<ReadonlyMap<string, AclUser>> {
  const lines = (await readFile(FILE, 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map(parseUser).map((user) => [user.name, user]))
}

function parseUser(line: string): AclUser {
  const [keyword, name, ...rules] = line.split(' ')
  if (keyword !== 'user' || name === undefined) throw new Error(`Not a user: ${line}`)
  const starting = (sign: string) => rules.filter((rule) => rule.startsWith(sign)).map((rule) => rule.slice(1))
  return {
    name,
    rules,
    keys: rules.filter((rule) => /^(%R)?~/.test(rule)).map((rule) => rule.replace(/^~/, '')),
    commands: starting('+'),
  }
}

/** Makes the users on a server, as the file says, with a password. */
export async function createAclUsers(admin: Redis): Promise<void> {
  for (const { name, rules } of (await readAclUsers()).values())
    await admin.call('ACL', 'SETUSER', name, 'reset', `>${PASSWORD}`, ...rules)
}

/** Where a server is, for one of the users. */
export function urlOf({ host, port }: Pick<PrivateRedis, 'host' | 'port'>, user: string): string {
  return `redis://${user}:${PASSWORD}@${host}:${port}`
}
