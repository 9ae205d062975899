/** Where a bar is drawn. */
export interface ProgressTerminal {
  readonly isTTY?: boolean
  write(text: string): unknown
}

const WIDTH = 30
const CLEAR_LINE = '\r\u001B[2K'

/** A bar on one line, drawn over and over; nothing where there is no terminal. */
export class ProgressBar {
  readonly #terminal: ProgressTerminal

  constructor(terminal: ProgressTerminal) {
    this.#terminal = terminal
  }

  draw(done: number, total: number, text: string): void {
    const filled = Math.round(WIDTH * Math.min(1, total > 0 ? done / total : 1))
    this.#write(`${CLEAR_LINE}[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${done} of ${total}, ${text}`)
  }

  /** Takes the bar away, so that something else may be printed. */
  clear(): void {
    this.#write(CLEAR_LINE)
  }

  #write(text: string): void {
    if (this.#terminal.isTTY) this.#terminal.write(text)
  }
}
