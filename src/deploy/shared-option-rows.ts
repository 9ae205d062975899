import { listOptionRow, textPatternOptionRow } from './option-rows.ts'

/** What CloudWatch Logs takes. @see https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html */
export const LOG_RETENTION_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
]

export const scheduleOptionRow = textPatternOptionRow(
  /^(rate\([1-9]\d* (minute|hour|day)s?\)|cron\(\S+( \S+){5}\))$/,
  'rate(…) of minutes, hours or days, or cron(…) with six fields',
)

export const parametersOptionRow = listOptionRow(
  textPatternOptionRow(/^\/?[\w.-]+(\/[\w.-]+)*$/, 'the name of an SSM parameter, as in /shop/redis-url'),
)
