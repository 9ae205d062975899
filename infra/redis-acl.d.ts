/** Access strings of the users of redis-acl.txt, for ElastiCache. */
export const publisher: string
export const poller: string
export const claimer: string
export const console: string
export const operator: string
