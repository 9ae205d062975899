// The access strings of redis-acl.txt for redis.yml: the same list for a Redis of your own and for one that the stack makes.
import { readFileSync } from 'node:fs'

const text = readFileSync(new URL('redis-acl.txt', import.meta.url), 'utf8')

/** An access string for a server that takes no selectors: what stands in parentheses goes for all of the user's keys. */
const flat = (access) => [...new Set(access.replace(/[()]/g, '').split(' '))].join(' ')

const users = Object.fromEntries(
  [...text.matchAll(/^user (\S+) (.+)$/gm)].map(([, name, access]) => [name, flat(access)]),
)

export const publisher = users['orders-publisher']
export const deduplicator = users['orders-deduplicator']
export const decider = users['orders-decider']
export const throttled = users['orders-throttled']
export const delayer = users['orders-delayer']
export const poller = users['orders-poller']
export const promoter = users['orders-promoter']
export const claimer = users['orders-claimer']
export const console = users['orders-console']
export const operator = users['orders-operator']
export const janitor = users['orders-janitor']
export const activityPublisher = users['activity-publisher']
export const activityPoller = users['activity-poller']
export const activityClaimer = users['activity-claimer']
export const analyticsPoller = users['analytics-poller']
export const analyticsClaimer = users['analytics-claimer']
export const analyticsDetect = users['analytics-detect']
export const analyticsRead = users['analytics-read']
export const checkoutPublisher = users['checkout-publisher']
export const checkoutPoller = users['checkout-poller']
export const checkoutClaimer = users['checkout-claimer']
export const checkoutRead = users['checkout-read']
export const webhooksPublisher = users['webhooks-publisher']
export const webhooksRegistrar = users['webhooks-registrar']
export const webhooksPoller = users['webhooks-poller']
export const webhooksClaimer = users['webhooks-claimer']
export const webhooksRead = users['webhooks-read']
export const fanOutPublisher = users['fan-out-publisher']
export const fanOutPoller = users['fan-out-poller']
export const fanOutClaimer = users['fan-out-claimer']
export const fanOutRead = users['fan-out-read']
export const fanOutOperator = users['fan-out-operator']
