import { Logger } from '@aws-lambda-powertools/logger'
import { createClaimer } from 'millrace'
import { checkAtColdStart } from 'millrace/operate'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { delivery } from './consumer.ts'

const logger = new Logger()

/** Wakes on a schedule: sends again what failed, what waited, and what a dead process left behind. */
export const handler = createClaimer(delivery, { redis, observe: [reportMetrics(), reportLogs(logger)] }).use(
  checkAtColdStart(delivery, { redis, logger }),
)
