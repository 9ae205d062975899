export type { ReportTracesOptions } from './report-traces.ts'
export { reportTraces } from './report-traces.ts'
