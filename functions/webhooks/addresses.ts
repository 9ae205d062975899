import { Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { NonRetryableError } from 'millrace'
import { webhooksAllowed } from '../shared/env.ts'

/** Asks name servers itself: the system's lookup has four threads, which a few slow names would take from everybody. */
const names = new Resolver({ timeout: 2_000, tries: 2 })

/** All that is public of IPv6. */
const GLOBAL = ipaddr.IPv6.parseCIDR('2000::/3')

/** Addresses that merchants must not have us ask are on no public network: private, loopback, link-local with the metadata service, mapped, translated, reserved. */
export function isAllowed(address: string): boolean {
  if (webhooksAllowed.has(address)) return true
  if (!ipaddr.isValid(address)) return false
  const found = ipaddr.process(address)
  return found.range() === 'unicast' && (found.kind() === 'ipv4' || found.match(GLOBAL))
}

/**
 * The addresses to connect to, and no other: whoever looks the name up again, for the connection, may get another answer.
 *
 * @throws {NonRetryableError} The URL is none of `https:`, or leads to where nobody may send us.
 * @throws {Error} The name has no address now.
 */
export async function addressesOf({ protocol, hostname }: URL): Promise<readonly string[]> {
  const literal = hostname.replace(/^\[|\]$/g, '')
  const addresses = isIP(literal) ? [literal] : await resolve(hostname)
  if (!addresses.every(isAllowed)) throw new NonRetryableError('the endpoint has an address that is not public')
  const isListed = addresses.every((address) => webhooksAllowed.has(address))
  if (protocol === 'https:' || (protocol === 'http:' && isListed)) return addresses
  throw new NonRetryableError('the endpoint is not https:')
}

async function resolve(hostname: string): Promise<string[]> {
  const found = await Promise.allSettled([names.resolve4(hostname), names.resolve6(hostname)])
  const addresses = found.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  if (addresses.length === 0) throw new Error('the name of the endpoint has no address')
  return addresses
}
