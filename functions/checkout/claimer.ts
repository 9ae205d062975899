import { Logger } from '@aws-lambda-powertools/logger'
import { createClaimer } from 'millrace'
import { checkAtColdStart } from 'millrace/operate'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { services } from './consumers.ts'

const logger = new Logger()

/** Wakes on a schedule: decides races anew, retries what failed, takes over what a dead process left behind. */
export const handler = createClaimer(services, { redis, observe: [reportMetrics(), reportLogs(logger)] }).use(
  checkAtColdStart(services, { redis, logger }),
)
