/** Shows blocks of lines one after the other. */
export interface View {
  show(lines: readonly string[]): void
}

const BLOCK_EVERY_MS = 5_000

/** Refreshed in place on a terminal; a block every five seconds otherwise. */
export function createView(stdout: NodeJS.WriteStream): View {
  let height = 0
  let nextAt = 0
  return {
    show(lines) {
      if (!stdout.isTTY) {
        if (performance.now() < nextAt) return
        nextAt = performance.now() + BLOCK_EVERY_MS
        stdout.write(`${lines.join('\n')}\n\n`)
        return
      }
      const back = height > 0 ? `\x1b[${height}A` : ''
      const width = stdout.columns
      // what is wider would take two rows; each line clears what is left of the one before it
      const rows = lines.map((line) => `${line.slice(0, width)}\x1b[K\n`)
      stdout.write(`${back}${rows.join('')}\x1b[J`)
      height = lines.length
    },
  }
}
