/** Access strings of the users of redis-acl.txt, for ElastiCache. */
export const publisher: string
export const deduplicator: string
export const decider: string
export const delayer: string
export const poller: string
export const promoter: string
export const claimer: string
export const console: string
export const operator: string
export const activityPublisher: string
export const activityPoller: string
export const activityClaimer: string
export const analyticsPoller: string
export const analyticsClaimer: string
export const analyticsDetect: string
export const analyticsRead: string
