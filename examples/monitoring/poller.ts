import { createPoller } from 'millrace'
import { invokeSelf } from 'millrace/lambda'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { rollup } from './consumer.ts'
import { redis } from './redis.ts'

/** Wakes on a schedule: adds new samples. */
export const handler = createPoller(rollup, { redis, scaleOut: invokeSelf(), observe: [reportMetrics(), reportLogs()] })
