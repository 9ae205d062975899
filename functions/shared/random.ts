/** Numbers that look random and are the same for the same seed. */
export interface Random {
  /** A whole number from `min` up to, not including, `end`. */
  integer(min: number, end: number): number
  pick<T>(values: readonly T[]): T
}

/** Mulberry32: 32 bits of state are plenty for a demonstration. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
  const integer = (min: number, end: number) => min + Math.floor(next() * (end - min))
  return { integer, pick: (values) => values[integer(0, values.length)] as (typeof values)[number] }
}
