// The access strings of redis-acl.txt for redis.yml: the same list for a Redis of your own and for one that the stack makes.
import { readFileSync } from 'node:fs'

const text = readFileSync(new URL('redis-acl.txt', import.meta.url), 'utf8')
const users = Object.fromEntries([...text.matchAll(/^user (\S+) (.+)$/gm)].map(([, name, access]) => [name, access]))

export const publisher = users['orders-publisher']
export const poller = users['orders-poller']
export const claimer = users['orders-claimer']
export const console = users['orders-console']
export const operator = users['orders-operator']
