import { domainToASCII } from 'node:url'
import { cannot } from '../../core/options.ts'

/** Where a Redis is, and as whom to sign in. Holds the password: never shown, never part of an error. */
export interface RedisAddress {
  readonly kind: 'tcp' | 'socket'
  /** The hosts in their order; more than one only with `cluster`. Of a socket none. */
  readonly hosts: readonly HostPort[]
  /** A socket's path. */
  readonly path: string | undefined
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  /** The database, from 0. */
  readonly db: number
  /** `?cluster`: the hosts are nodes of a cluster. */
  readonly cluster: boolean
  /** `?iam=NAME`: the cache that an IAM token is made for. */
  readonly iam: string | undefined
}

interface HostPort {
  readonly host: string
  readonly port: number
}

/** Where a REST interface is, and its token. */
interface RestAddress {
  readonly kind: 'rest'
  readonly url: string
  readonly token: string
}

export type Address = RedisAddress | RestAddress

const DEFAULT_PORT = 6379
const FORMS =
  'redis:// or rediss:// URL, unix:// with the path of a socket, such a path, or the https:// URL of a REST interface'

/**
 * Reads a URL. The password ends at the last `@`, and may hold anything; an escape (`%41`) is decoded if every `%` begins one, and none is
 * decoded if no `%` does. No message shows any part of the URL, since any part of a mistyped one may be the password.
 *
 * @param action What cannot be done without, for messages.
 * @throws {TypeError} Not the URL of a Redis: the message says which part is wrong.
 */
export function parseAddress(action: string, url: unknown): Address {
  const wrong = (rule: string) => cannot(action, rule)
  if (typeof url !== 'string') throw wrong(`the URL must be a string, got ${url === null ? 'null' : typeof url}`)
  if (url === '') throw wrong(`the URL must be a ${FORMS}, got an empty string`)
  if (url.startsWith('/') && !url.startsWith('//')) return socketAddress(url, {}, wrong)
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(url) ?? []
  const read = Object.hasOwn(SCHEMES, scheme.toLowerCase()) ? SCHEMES[scheme.toLowerCase()] : undefined
  if (!read) throw wrong(`the URL must be a ${FORMS}, got another string`)
  return read(rest, wrong)
}

type Wrong = (rule: string) => Error

const SCHEMES: Readonly<Record<string, (rest: string, wrong: Wrong) => Address>> = {
  redis: (rest, wrong) => tcpAddress(rest, false, wrong),
  rediss: (rest, wrong) => tcpAddress(rest, true, wrong),
  unix: unixAddress,
  http: (rest, wrong) => restAddress('http', rest, wrong),
  https: (rest, wrong) => restAddress('https', rest, wrong),
}

function tcpAddress(rest: string, tls: boolean, wrong: Wrong): RedisAddress {
  const { user, place } = splitUser(rest, wrong)
  const [, authority = '', path = '', query = ''] = /^([^/?#]*)([^?#]*)(?:\?([^#]*))?/s.exec(place) ?? []
  if (place.includes('#')) throw wrong('the URL must end before #; a # of the password is followed by @ and the host')
  const hosts = authority.split(',').map((host) => hostPort(host, wrong))
  const db = database(path, wrong)
  const { cluster, iam } = parameters(query, wrong)
  if (hosts.length > 1 && !cluster)
    throw wrong('the URL must name one host; several are nodes of a cluster, with ?cluster')
  if (cluster && db > 0) throw wrong('the URL of a cluster must name no database: a cluster has database 0 alone')
  if (iam !== undefined && !tls) throw wrong('?iam in the URL needs TLS: rediss://')
  if (iam !== undefined && user.username === undefined) throw wrong('?iam in the URL needs a user before the host')
  if (iam !== undefined && user.password !== undefined) throw wrong('the URL must have a password or ?iam, not both')
  if (iam === undefined && user.username !== undefined && user.password === undefined)
    throw wrong('the URL has a user without a password; write user:password@host, or :password@host')
  return { kind: 'tcp', hosts, path: undefined, tls, ...user, db, cluster, iam }
}

function unixAddress(rest: string, wrong: Wrong): RedisAddress {
  // a path may hold an @ as well, so that the password ends where a path begins
  const at = rest.startsWith('/') ? -1 : rest.lastIndexOf('@/')
  const { user } = splitUser(at < 0 ? '' : rest.slice(0, at + 1), wrong)
  if (user.username !== undefined && user.password === undefined)
    throw wrong('the URL has a user without a password; write user:password@ or :password@ before the path')
  return socketAddress(decode(rest.slice(at + 1), 'path', wrong), user, wrong)
}

function socketAddress(place: string, user: Partial<User>, wrong: Wrong): RedisAddress {
  const { username, password } = user
  const [, path = '', query = ''] = /^([^?]*)(?:\?(.*))?$/s.exec(place) ?? []
  if (!/^\/[^\0]+$/.test(path)) throw wrong('the path of the socket must begin with / and name a file')
  const { db } = socketParameters(query, wrong)
  return { kind: 'socket', hosts: [], path, tls: false, username, password, db, cluster: false, iam: undefined }
}

function restAddress(scheme: string, rest: string, wrong: Wrong): RestAddress {
  const { user, place } = splitUser(rest, wrong)
  const token = user.password || user.username
  if (!token) throw wrong('the URL of a REST interface must carry its token, as in https://:<token>@<host>')
  const [, authority = '', path = ''] = /^([^/?#]*)([^?#]*)/s.exec(place) ?? []
  if (/[?#]/.test(place)) throw wrong('the URL of a REST interface must end with its path: no ? and no #')
  const { host, port } = hostPort(authority, wrong, 0)
  if (/[\s\\]/.test(path)) throw wrong('the path in the URL must hold neither spaces nor backslashes')
  const shown = host.includes(':') ? `[${host}]` : host
  return { kind: 'rest', url: `${scheme}://${shown}${port ? `:${port}` : ''}${path.replace(/\/+$/, '')}`, token }
}

interface User {
  readonly username: string | undefined
  readonly password: string | undefined
}

/** The last `@` ends the user: neither a host nor what follows it holds one. */
function splitUser(rest: string, wrong: Wrong): { readonly user: User; readonly place: string } {
  const at = rest.lastIndexOf('@')
  if (at < 0) return { user: { username: undefined, password: undefined }, place: rest }
  const given = rest.slice(0, at)
  const colon = given.indexOf(':')
  const username = decode(colon < 0 ? given : given.slice(0, colon), 'user', wrong)
  const password = colon < 0 ? '' : decode(given.slice(colon + 1), 'password', wrong)
  return { user: { username: username || undefined, password: password || undefined }, place: rest.slice(at + 1) }
}

function decode(text: string, part: string, wrong: Wrong): string {
  if (!text.isWellFormed()) throw wrong(`the ${part} in the URL must be text: it holds half a surrogate pair`)
  if (!text.includes('%')) return text
  const escapes = text.match(/%[0-9a-f]{2}/gi)?.length ?? 0
  if (escapes === 0) return text
  if (escapes < text.split('%').length - 1)
    throw wrong(`the ${part} in the URL has escapes beside a lone %: write % as %25`)
  try {
    return decodeURIComponent(text)
  } catch {
    // without its cause, which quotes nothing today and may tomorrow
    throw wrong(`the escapes of the ${part} in the URL must be UTF-8; write % as %25`)
  }
}

function hostPort(text: string, wrong: Wrong, defaultPort = DEFAULT_PORT): HostPort {
  const [, v6, name = '', digits] =
    /^(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([^\s:[\]%\\<>^|]*))(?::(.*))?$/is.exec(text) ?? []
  const host = v6 ?? (name && domainToASCII(name))
  if (!host || (v6 !== undefined && !v6.includes(':')))
    throw wrong('the URL must name a host, [in brackets] if it is an IPv6 address')
  if (digits === undefined) return { host, port: defaultPort }
  if (!/^\d{1,5}$/.test(digits) || Number(digits) < 1 || Number(digits) > 65_535)
    throw wrong('the port in the URL must be a number from 1 to 65535')
  return { host, port: Number(digits) }
}

/** @param path With the slash before it. */
function database(path: string, wrong: Wrong): number {
  if (path === '' || path === '/') return 0
  if (/^\/(0|[1-9]\d{0,8})$/.test(path)) return Number(path.slice(1))
  throw wrong('the database in the URL must be a number from 0, as in /3; a stream is not part of the URL')
}

function parameters(query: string, wrong: Wrong): { readonly cluster: boolean; readonly iam: string | undefined } {
  const given = pairs(query, ['cluster', 'iam'], wrong)
  const cluster = given.get('cluster')
  if (!['true', '', undefined].includes(cluster))
    throw wrong('?cluster in the URL must stand alone, or be ?cluster=true')
  const iam = given.get('iam')
  if (iam !== undefined && !/^[a-z0-9-]+$/i.test(iam)) throw wrong('?iam in the URL must name the cache: ?iam=NAME')
  return { cluster: cluster !== undefined, iam }
}

function socketParameters(query: string, wrong: Wrong): { readonly db: number } {
  return { db: database(`/${pairs(query, ['db'], wrong).get('db') ?? ''}`, wrong) }
}

function pairs(query: string, known: readonly string[], wrong: Wrong): ReadonlyMap<string, string> {
  const given = new Map<string, string>()
  for (const pair of query.split('&').filter(Boolean)) {
    const [name = '', value = ''] = pair.split(/=(.*)/s)
    if (!known.includes(name) || given.has(name))
      throw wrong(`the URL has an unknown parameter, or one twice; known after ? are ${known.join(', ')}`)
    given.set(name, value)
  }
  return given
}
