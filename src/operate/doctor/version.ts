/** Negative if version `a` comes before `b`, 0 if they are the same, positive if `a` comes after; what is no number counts as 0. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(/\D+/).map(Number)) as [number[], number[]]
  for (let at = 0; at < 3; at++) {
    const difference = (left[at] || 0) - (right[at] || 0)
    if (difference !== 0) return difference
  }
  return 0
}
