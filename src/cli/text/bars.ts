const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']
const LEVELS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']

/** A bar from left to right, as long as a share of so many columns; a share that is not 0 shows. */
export function barText(share: number, columns: number): string {
  const eighths = Math.round(8 * columns * Math.min(1, Math.max(0, share)))
  const shown = share > 0 ? Math.max(1, eighths) : 0
  return '█'.repeat(shown >> 3) + EIGHTHS[shown & 7]
}

/** Numbers side by side, each as high as its share of the highest one; 0 is a space. */
export function sparkText(values: readonly number[]): string {
  const highest = values.reduce((most, value) => Math.max(most, value), 0)
  const level = (value: number) => Math.max(0, Math.ceil((LEVELS.length * value) / highest) - 1)
  return values.map((value) => (value > 0 ? (LEVELS[level(value)] ?? '') : ' ')).join('')
}
