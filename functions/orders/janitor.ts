import { createJanitor } from 'millrace/janitor'
import { reportLogs, reportMetrics } from 'millrace/powertools'
import { s3Archive } from 'millrace/s3'
import { archiveBucket, ordersStream } from '../shared/env.ts'
import { redis } from '../shared/redis.ts'

/** Wakes on a schedule: trims what all groups have done and what is older than a week, and archives it before. Who the groups are stands in the deployment. */
export const handler = createJanitor(
  { stream: ordersStream, retentionMs: 7 * 86_400_000 },
  {
    redis,
    ...(archiveBucket && { archive: s3Archive({ bucket: archiveBucket }) }),
    observe: [reportMetrics(), reportLogs()],
  },
)
