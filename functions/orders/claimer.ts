import { Logger } from '@aws-lambda-powertools/logger'
import { createClaimer } from 'millrace'
import { checkAtColdStart } from 'millrace/operate'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { billing } from './consumer.ts'

const logger = new Logger()

/**
 * Wakes on a schedule: retries what failed, takes over what a dead process left behind, sets aside what cannot succeed. When it starts cold it
 * looks once whether anything about the consumer or its server is wrong.
 */
export const handler = createClaimer(billing, { redis, observe: [reportMetrics(), reportLogs(logger)] }).use(
  checkAtColdStart(billing, { redis, logger }),
)
