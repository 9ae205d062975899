import { Logger } from '@aws-lambda-powertools/logger'
import { createClaimer } from 'millrace'
import { checkAtColdStart } from 'millrace/operate'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { groups } from './consumers.ts'

const logger = new Logger()

/** Wakes on a schedule: retries what failed, takes over what a dead process left behind, sets aside what cannot succeed. */
export const handler = createClaimer(groups, { redis, observe: [reportMetrics(), reportLogs(logger)] }).use(
  checkAtColdStart(groups, { redis, logger }),
)
