import type { ConnectionOptions } from 'node:tls'
import type { RedisOptions } from 'ioredis'
import { wrongUseError } from '../core/options.ts'
import { isOptionsObject } from './ioredis-options.ts'

/** ioredis options over the ones chosen for Lambda. */
export interface IoredisOptions extends Omit<RedisOptions, 'password' | 'sentinelPassword'> {
  /** In place of the URL's: a password, or what gives one, called once per attempt to connect, as for a secret that rotates. */
  readonly password?: string | (() => string | Promise<string>) | undefined
  /** The same for the sentinels of a `redis+sentinel://` URL. */
  readonly sentinelPassword?: string | (() => string | Promise<string>) | undefined
}

/** A password of a URL or an option, or what gives one. */
type Given = IoredisOptions['password']

/** What is asked for a password once per attempt to connect. @param given Read each time: it may be a getter's. */
export function createPasswordGetter(action: string, given: () => Given): () => Promise<string | undefined> {
  return async () => {
    const value = given()
    const password = typeof value === 'function' ? await value() : value
    const isText = typeof password === 'string' && password.isWellFormed()
    if (password !== undefined && !isText)
      throw wrongUseError(action, 'the password must be a string of whole characters')
    return password || undefined
  }
}

let isWarned = false

/** The value of an option of TLS. @throws {TypeError} It is of another shape, or says where to. */
export function checkedTls(action: string, name: string, tls: unknown): ConnectionOptions | undefined {
  if (tls === undefined || tls === null) return undefined
  if (!isOptionsObject(tls) || 'profile' in tls)
    throw wrongUseError(action, `option ${name} must be an object as { ca }, without profile`)
  for (const part of ['host', 'port', 'path', 'socket'])
    if (part in tls) throw wrongUseError(action, `option ${name}.${part} is refused: the URL says where`)
  if (tls.rejectUnauthorized === false && !isWarned) {
    isWarned = true
    process.emitWarning('rejectUnauthorized: false shows the password to whoever answers')
  }
  return tls as ConnectionOptions
}
