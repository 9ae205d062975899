import { Logger } from '@aws-lambda-powertools/logger'
import { createClaimer } from 'millrace'
import { checkAtColdStart } from 'millrace/doctor'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { redis } from '../redis.ts'
import { billing } from './consumer.ts'

/**
 * Wakes on a schedule: retries what failed, takes over what a dead process left behind, sets aside what cannot succeed. Once in an execution
 * environment it has the doctor look.
 */
export const handler = createClaimer(billing, { redis })
  .use(reportMetrics())
  .use(reportLogs())
  .use(checkAtColdStart(billing, { redis, logger: new Logger() }))
