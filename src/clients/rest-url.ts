import { wrongUseError } from '../core/options.ts'
import type { RedisAddress, UrlErrorFactory } from './url.ts'
import { parseHostPort, parseRedisUrl, splitUserFromUrl } from './url.ts'

/** Where a REST interface is, and its token. */
interface RestAddress {
  readonly kind: 'rest'
  readonly url: string
  readonly token: string
}

export type ServerAddress = RedisAddress | RestAddress

/**
 * Reads the URL of any kind of server; see `parseRedisUrl`.
 *
 * @throws {TypeError} Neither the URL of a Redis nor that of a REST interface with its token. No message shows any part of it.
 */
export function parseServerUrl(action: string, url: unknown): ServerAddress {
  const [, scheme = '', rest = ''] = (typeof url === 'string' && /^(https?):\/\/(.*)$/is.exec(url)) || []
  return scheme === ''
    ? parseRedisUrl(action, url, 'https://, ')
    : restAddress(scheme.toLowerCase(), rest, (rule) => wrongUseError(action, rule))
}

function restAddress(scheme: string, rest: string, wrong: UrlErrorFactory): RestAddress {
  const { user, place } = splitUserFromUrl(rest, wrong)
  const token = user.password || user.username
  if (!token) throw wrong('the URL of a REST interface must carry its token, as in https://:<token>@<host>')
  const [, authority = '', path = ''] = /^([^/?#]*)([^?#]*)/s.exec(place) ?? []
  if (/[?#]/.test(place)) throw wrong('the URL of a REST interface must end with its path: no ? and no #')
  const { host, port } = parseHostPort(authority, wrong, 0)
  if (/[\s\\]/.test(path)) throw wrong('the path in the URL must hold neither spaces nor backslashes')
  const shown = host.includes(':') ? `[${host}]` : host
  return { kind: 'rest', url: `${scheme}://${shown}${port ? `:${port}` : ''}${path.replace(/\/+$/, '')}`, token }
}
