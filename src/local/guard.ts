import { type ChildProcess, spawn } from 'node:child_process'

/**
 * Starts a shell that kills the child's process group when this process ends, however it ends, also by SIGKILL: the shell reads from a pipe
 * that nobody writes to and that the system closes with this process. A frozen child could not notice by itself.
 *
 * @param child Leads a process group of its own, as with `detached: true`.
 */
export function killChildGroupOnExit(child: ChildProcess): void {
  if (child.pid === undefined) return
  const shell = spawn('/bin/sh', ['-c', 'read -r _; kill -s KILL -- "-$1" 2>/dev/null', 'sh', `${child.pid}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => {})
  // A shell that outlived the child could kill whoever gets its process id next.
  child.once('exit', () => shell.kill('SIGKILL'))
}

/** Sends a signal to the child and what it started. A group that is gone is left alone. */
export function signalProcessGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
