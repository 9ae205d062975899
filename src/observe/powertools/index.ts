export type { ReportLogger } from './report-logger.ts'
export { reportLogs } from './report-logs.ts'
export type { ReportMetricsOptions } from './report-metrics.ts'
export { reportMetrics } from './report-metrics.ts'
