import { isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { kindOf, wrongUseError } from '../core/options.ts'

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
  /** `redis+sentinel://`: the hosts are sentinels, and login and database are those of the server that they name. */
  readonly sentinel: SentinelAddress | undefined
}

/** What sentinels are asked for, and as whom. */
export interface SentinelAddress {
  /** `?name=`: what the sentinels call the primary. */
  readonly name: string
  readonly username: string | undefined
  readonly password: string | undefined
}

export interface HostPort {
  readonly host: string
  readonly port: number
}

const DEFAULT_PORT = 6379
const SENTINEL_PORT = 26379
const NO_PASSWORD = 'the URL has a user without a password; write user:password@ or :password@'

/**
 * Reads a URL. The password ends at the last `@`, and may hold anything; an escape (`%41`) is decoded if every `%` begins one, and none is
 * decoded if no `%` does. No message shows any part of the URL, since any part of a mistyped one may be the password.
 *
 * @param action What cannot be done without, for messages.
 * @param others Further URLs that the caller takes, as messages list them.
 * @throws {TypeError} Not the URL of a Redis: the message says which part is wrong.
 */
export function parseRedisUrl(action: string, url: unknown, others = ''): RedisAddress {
  const wrong = (rule: string) => wrongUseError(action, rule)
  const text = typeof url === 'string' ? url : ''
  if (/^\/(?!\/)/.test(text)) return socketAddress(text, {}, wrong)
  const [, scheme = '', rest = ''] = /^(rediss?(?:\+sentinel)?|unix):\/\/(.*)$/is.exec(text) ?? []
  if (scheme === '')
    throw wrong(
      `the URL must be redis://, rediss://, ${others}redis+sentinel:// or unix://, or the path of a socket, got ${kindOfUrl(url)}`,
    )
  const name = scheme.toLowerCase()
  if (name === 'unix') return unixAddress(rest, wrong)
  const read = name.endsWith('+sentinel') ? sentinelAddress : tcpAddress
  return read(rest, name.startsWith('rediss'), wrong)
}

function kindOfUrl(url: unknown): string {
  if (url === '') return 'an empty string'
  return typeof url === 'string' ? 'another string' : kindOf(url)
}

/** Makes an error of a rule. */
export type UrlErrorFactory = (rule: string) => Error

function tcpAddress(rest: string, tls: boolean, wrong: UrlErrorFactory): RedisAddress {
  const { user, hosts, db, query } = partsOf(rest, DEFAULT_PORT, wrong)
  const { cluster, iam } = parameters(query, wrong)
  if (hosts.length > 1 && !cluster) throw wrong('the URL must name one host, or have ?cluster')
  if (cluster && db > 0) throw wrong('a cluster has only database 0')
  if (iam !== undefined && !tls) throw wrong('?iam in the URL needs TLS: rediss://')
  if (iam !== undefined && user.username === undefined) throw wrong('?iam in the URL needs a user')
  if (iam !== undefined && user.password !== undefined) throw wrong('the URL must have a password or ?iam')
  if (iam === undefined && user.username !== undefined && user.password === undefined) throw wrong(NO_PASSWORD)
  return { kind: 'tcp', hosts, path: undefined, tls, ...user, db, cluster, iam, sentinel: undefined }
}

function sentinelAddress(rest: string, tls: boolean, wrong: UrlErrorFactory): RedisAddress {
  const { user, hosts, db, query } = partsOf(rest, SENTINEL_PORT, wrong)
  const given = pairs(query, ['name', 'sentinelUsername', 'sentinelPassword', 'cluster', 'iam'], wrong)
  if (given.has('cluster')) throw wrong('the URL must have ?cluster or +sentinel: a cluster has no sentinels')
  if (given.has('iam')) throw wrong('the URL must have ?iam or +sentinel: what is signed in to by IAM has no sentinels')
  const of = (name: string) => decode(given.get(name) ?? '', name, wrong) || undefined
  const sentinel = { name: of('name'), username: of('sentinelUsername'), password: of('sentinelPassword') }
  if (sentinel.name === undefined)
    throw wrong('a URL of sentinels must say ?name=, what they call the primary; behind it an @ is written %40')
  if (sentinel.username !== undefined && sentinel.password === undefined)
    throw wrong('the URL has a sentinelUsername without a sentinelPassword')
  if (user.username !== undefined && user.password === undefined) throw wrong(NO_PASSWORD)
  const named = { ...sentinel, name: sentinel.name }
  return { kind: 'tcp', hosts, path: undefined, tls, ...user, db, cluster: false, iam: undefined, sentinel: named }
}

/** What is the same in every URL of hosts. */
function partsOf(rest: string, defaultPort: number, wrong: UrlErrorFactory) {
  const { user, place } = splitUserFromUrl(rest, wrong)
  const [, authority = '', path = '', query = ''] = /^([^/?#]*)([^?#]*)(?:\?([^#]*))?/s.exec(place) ?? []
  if (place.includes('#')) throw wrong('the URL must end before #')
  const hosts = authority.split(',').map((host) => parseHostPort(host, wrong, defaultPort))
  return { user, hosts, db: database(path, wrong), query }
}

function unixAddress(rest: string, wrong: UrlErrorFactory): RedisAddress {
  // a path may hold an @ as well, so that the password ends where a path begins
  const at = rest.startsWith('/') ? -1 : rest.lastIndexOf('@/')
  const { user } = splitUserFromUrl(at < 0 ? '' : rest.slice(0, at + 1), wrong)
  if (user.username !== undefined && user.password === undefined) throw wrong(NO_PASSWORD)
  return socketAddress(decode(rest.slice(at + 1), 'path', wrong), user, wrong)
}

function socketAddress(place: string, user: Partial<User>, wrong: UrlErrorFactory): RedisAddress {
  const { username, password } = user
  const [, path = '', query = ''] = /^([^?]*)(?:\?(.*))?$/s.exec(place) ?? []
  if (!/^\/[^\0]+$/.test(path)) throw wrong("the socket's path must begin with / and name a file")
  const { db } = socketParameters(query, wrong)
  const nowhere = { hosts: [], tls: false, cluster: false, iam: undefined, sentinel: undefined }
  return { kind: 'socket', path, username, password, db, ...nowhere }
}

/** The login of a URL. */
interface User {
  readonly username: string | undefined
  readonly password: string | undefined
}

/** The last `@` ends the user: neither a host nor what follows it holds one. */
export function splitUserFromUrl(
  rest: string,
  wrong: UrlErrorFactory,
): { readonly user: User; readonly place: string } {
  const at = rest.lastIndexOf('@')
  if (at < 0) return { user: { username: undefined, password: undefined }, place: rest }
  const given = rest.slice(0, at)
  const colon = given.indexOf(':')
  const username = decode(colon < 0 ? given : given.slice(0, colon), 'user', wrong)
  const password = colon < 0 ? '' : decode(given.slice(colon + 1), 'password', wrong)
  return { user: { username: username || undefined, password: password || undefined }, place: rest.slice(at + 1) }
}

function decode(text: string, part: string, wrong: UrlErrorFactory): string {
  if (!text.isWellFormed()) throw wrong(`the ${part} in the URL holds half a surrogate pair`)
  if (!text.includes('%')) return text
  const escapes = text.match(/%[0-9a-f]{2}/gi)?.length ?? 0
  if (escapes === 0) return text
  if (escapes < text.split('%').length - 1)
    throw wrong(`the ${part} in the URL has escapes beside a lone %: write % as %25`)
  try {
    return decodeURIComponent(text)
  } catch {
    // without its cause, which quotes nothing today and may tomorrow
    throw wrong(`the ${part} in the URL must be UTF-8: write % as %25`)
  }
}

export function parseHostPort(text: string, wrong: UrlErrorFactory, defaultPort = DEFAULT_PORT): HostPort {
  const [, v6, name = '', digits] =
    /^(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([^\s:[\]%\\<>^|]*))(?::(.*))?$/is.exec(text) ?? []
  // a zone is written behind %25, or behind a lone %
  const host = v6?.replace(/%25(?=.)/, '%') ?? (name && domainToASCII(name))
  if (!host || (v6 !== undefined && !isIPv6(host)))
    throw wrong('the URL must name a host, an IPv6 address in [brackets]')
  if (digits === undefined) return { host, port: defaultPort }
  if (!/^\d{1,5}$/.test(digits) || Number(digits) < 1 || Number(digits) > 65_535)
    throw wrong('the port in the URL must be 1 to 65535')
  return { host, port: Number(digits) }
}

/** @param path With the slash before it. */
function database(path: string, wrong: UrlErrorFactory): number {
  if (path === '' || path === '/') return 0
  if (/^\/(0|[1-9]\d{0,8})$/.test(path)) return Number(path.slice(1))
  throw wrong('the database in the URL must be a number from 0, as in /3')
}

function parameters(
  query: string,
  wrong: UrlErrorFactory,
): { readonly cluster: boolean; readonly iam: string | undefined } {
  const given = pairs(query, ['cluster', 'iam'], wrong)
  const cluster = given.get('cluster')
  if (!['true', '', undefined].includes(cluster)) throw wrong('?cluster in the URL must have no value')
  const iam = given.get('iam')
  if (iam !== undefined && !/^[a-z0-9-]+$/i.test(iam)) throw wrong('?iam in the URL must name the cache')
  return { cluster: cluster !== undefined, iam }
}

function socketParameters(query: string, wrong: UrlErrorFactory): { readonly db: number } {
  return { db: database(`/${pairs(query, ['db'], wrong).get('db') ?? ''}`, wrong) }
}

/** Where what other clients take for a parameter stands in a URL of ours. */
function insteadOf(name: string): string {
  if (/^(tls|ssl)$/i.test(name)) return '; TLS is rediss://'
  return /^(db|database)$/i.test(name) ? '; the database is the path, as in /3' : ''
}

function pairs(query: string, known: readonly string[], wrong: UrlErrorFactory): ReadonlyMap<string, string> {
  const given = new Map<string, string>()
  for (const pair of query.split('&').filter(Boolean)) {
    const [name = '', value = ''] = pair.split(/=(.*)/s)
    if (!known.includes(name) || given.has(name))
      throw wrong(`the URL has an unknown parameter, or one twice; known: ${known.join(', ')}${insteadOf(name)}`)
    given.set(name, value)
  }
  return given
}
