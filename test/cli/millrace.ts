import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { onTestFinished } from 'vitest'

const PROGRAM = join(import.meta.dirname, '../../dist/cli/main.js')

/** A run of the program `millrace`. */
export interface Run {
  readonly pid: number
  /** What it has printed so far. */
  readonly lines: readonly string[]
  /** The same as it came. */
  readonly text: string
  /** Resolves to the first line after the ones seen before that matches; rejects if the program ends without. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  interrupt(): void
  /** Reads no more of what it prints, as `head` does when it has enough. */
  closeOutput(): void
  readonly exit: Promise<number | null>
}

/** Starts the built program, or the one of another installation; it is killed with the test. */
export function millrace(
  args: readonly string[],
  { program = PROGRAM, ...options }: { cwd?: string; env?: NodeJS.ProcessEnv; program?: string } = {},
): Run {
  const child = spawn(process.execPath, [program, ...args], { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines: string[] = []
  const waiting = new Set<() => void>()
  const look = () => {
    for (const one of waiting) one()
  }
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    createInterface(stream).on('line', (line) => {
      lines.push(line)
      look()
    })
  }
  let ended = false
  const exit = once(child, 'close').then(([code]) => {
    ended = true
    look()
    return code as number | null
  })
  let seen = 0
  return {
    pid: child.pid as number,
    lines,
    get text() {
      return text
    },
    exit,
    interrupt: () => void child.kill('SIGINT'),
    closeOutput: () => void child.stdout.destroy(),
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const one = () => {
          while (seen < lines.length) {
            const match = pattern.exec(lines[seen++] as string)
            if (!match) continue
            waiting.delete(one)
            return resolve(match)
          }
          if (ended) reject(new Error(`It ended without printing ${pattern}:\n${lines.join('\n')}`))
        }
        waiting.add(one)
        one()
      }),
  }
}
