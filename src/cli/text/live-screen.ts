import { stripVTControlCharacters } from 'node:util'

/** What is used of a terminal. */
export interface ScreenTerminal {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
  on(event: 'resize', listener: () => void): unknown
  off(event: 'resize', listener: () => void): unknown
}

/** Shows pictures one in the place of the other. */
export interface LiveScreen {
  show(lines: readonly string[]): void
  /** Gives the terminal back as it was. May be called twice. */
  close(): void
}

const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'

/** On a terminal, its second screen, cut to its size and drawn again when that changes; elsewhere block after block. */
export function createLiveScreen(stdout: ScreenTerminal): LiveScreen {
  return stdout.isTTY
    ? terminalScreen(stdout)
    : { show: (lines) => stdout.write(`${lines.join('\n')}\n\n`), close() {} }
}

function terminalScreen(stdout: ScreenTerminal): LiveScreen {
  let shown: readonly string[] = []
  let isOpen = true
  const draw = () => {
    // 0 is what a terminal says that does not know
    const [columns, rows] = [stdout.columns || 80, stdout.rows || 24]
    const lines = fitLinesToTerminal(shown, columns, rows)
    // cleared before it is written: after a full line the cursor still stands on its last character
    const rest = lines.length < rows ? `\r\n${CLEAR_BELOW}` : ''
    stdout.write(HOME + lines.map((line) => CLEAR_LINE + line).join('\r\n') + rest)
  }
  const close = () => {
    if (!isOpen) return
    isOpen = false
    stdout.off('resize', draw)
    process.off('exit', close)
    stdout.write(LEAVE)
  }
  stdout.write(ENTER)
  stdout.on('resize', draw)
  // also where an error ends the program
  process.on('exit', close)
  return {
    close,
    show(lines) {
      if (!isOpen) return
      shown = lines
      draw()
    },
  }
}

/** Lines that a terminal of that size shows without wrapping or scrolling; one that is cut loses its colours. */
export function fitLinesToTerminal(lines: readonly string[], columns: number, rows: number): string[] {
  const cut = lines.map((line) => {
    const plain = stripVTControlCharacters(line)
    return plain.length <= columns ? line : `${plain.slice(0, Math.max(0, columns - 1))}…`
  })
  if (cut.length <= rows) return cut
  const kept = Math.max(0, rows - 1)
  return [...cut.slice(0, kept), `… ${cut.length - kept} more lines`.slice(0, columns)]
}
