import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** How often a running function's memory is inspected. Asking `ps` costs a process. */
export const MEMORY_CHECK_INTERVAL_MS = process.platform === 'linux' ? 25 : 250

/** The most memory that a process had resident so far, in MB; on systems other than Linux, what it has now. 0 if it is gone. */
export function peakMemoryMb(pid: number): number {
  try {
    return Math.ceil((process.platform === 'linux' ? fromProc(pid) : fromPs(pid)) / 1024)
  } catch {
    return 0
  }
}

function fromProc(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
}

function fromPs(pid: number): number {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', `${pid}`], { encoding: 'utf8' }))
}
