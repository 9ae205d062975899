/** `12.50` is 1250n: no number with a point is in between, and whole numbers add up exactly. */
export function centsOf(amount: string): bigint {
  return BigInt(amount.replace('.', ''))
}

/** `1250n` is `12.50`. */
export function moneyText(cents: bigint): string {
  const digits = String(cents).padStart(3, '0')
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`
}
