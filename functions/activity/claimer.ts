import { Logger } from '@aws-lambda-powertools/logger'
import { createClaimer } from 'millrace'
import { checkAtColdStart } from 'millrace/operate'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../shared/redis.ts'
import { analytics, fulfilment, monitoring } from './consumers.ts'

const logger = new Logger()
const consumers = [analytics, fulfilment, monitoring]

/** Wakes on a schedule: retries what failed, takes over what a dead process left behind, sets aside what cannot succeed, in the three streams. */
export const handler = createClaimer(consumers, { redis, observe: [reportMetrics(), reportLogs(logger)] }).use(
  checkAtColdStart(consumers, { redis, logger }),
)
