import { FIGURES, type Figure, type FigureName, isMet } from './figures.ts'

/** The least, or the most, that figures may be, by name. */
export type Floors = ReadonlyMap<FigureName, number>

/** One line for each figure that is worse than its floor; none where all hold. */
export function fallenFigures(ratios: Readonly<Partial<Record<FigureName, number>>>, floors: Floors): string[] {
  const fallen: string[] = []
  for (const [name, floor] of floors) {
    const figure: Figure = FIGURES[name]
    const value = ratios[name] ?? Number.NaN
    if (!isMet(figure, value, floor))
      fallen.push(`Figure ${name} fell: must be ${figure.bound} ${floor}, is ${value} (${figure.means})`)
  }
  return fallen
}
