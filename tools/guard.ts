import { type ChildProcess, spawn } from 'node:child_process'

/**
 * Starts a shell that kills the child when this process ends, however it ends, also by SIGKILL: the shell reads from a
 * pipe that nobody writes to and that the system closes with this process.
 */
export function guard(child: ChildProcess): void {
  if (child.pid === undefined) return
  const shell = spawn('/bin/sh', ['-c', 'read -r _; kill -KILL "$1" 2>/dev/null', 'sh', `${child.pid}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  shell.on('error', () => {})
  // A shell that outlived the child could kill whoever gets its process id next.
  child.once('exit', () => shell.kill('SIGKILL'))
  unref(shell)
}

/** Lets this process end by itself while the child runs. */
export function unref(child: ChildProcess): void {
  child.unref()
  for (const stream of child.stdio) (stream as { unref?: () => void } | null)?.unref?.()
}
