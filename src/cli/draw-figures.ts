import { access, constants, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Analysis } from '../operate/analyze/analysis.ts'
import { analysisFigure } from './analysis-figure.ts'
import { printableName } from './text/printable.ts'
import { UsageError } from './usage-error.ts'

/** Where to draw to. */
export interface FigureFiles {
  readonly svg: string | undefined
  readonly png: string | undefined
}

/** What draws; each is there only if it is needed. */
export interface FigureTools {
  readonly vega?: typeof import('vega')
  readonly vegaLite?: typeof import('vega-lite')
  readonly resvg?: typeof import('@resvg/resvg-js')
}

/** A screen shows two dots for each of a picture's. */
const ZOOM = 2
const PROBE =
  '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="15" font-size="12">x</text></svg>'

/**
 * Checks the folders that figures go to, before anything is read for them.
 *
 * @throws {UsageError} One is not there, or may not be written to.
 */
export async function checkFigureFolders({ svg, png }: FigureFiles): Promise<void> {
  for (const file of [svg, png]) {
    if (file === undefined) continue
    await access(dirname(file), constants.W_OK).catch((cause: Error) => {
      throw new UsageError(`millrace analyze: cannot write ${printableName(file)}: ${cause.message}`, { cause })
    })
  }
}

/**
 * Loads the packages that draw, before anything is read for them.
 *
 * @throws {UsageError} One is not installed.
 */
export async function loadFigureTools({ svg, png }: FigureFiles): Promise<FigureTools> {
  if (svg === undefined && png === undefined) return {}
  const missing: string[] = []
  const load = async <Module>(name: string, loading: Promise<Module>): Promise<Module | undefined> => {
    try {
      return await loading
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
      missing.push(name)
      return undefined
    }
  }
  const vega = await load('vega', import('vega'))
  const vegaLite = await load('vega-lite', import('vega-lite'))
  const resvg = png === undefined ? undefined : await load('@resvg/resvg-js', import('@resvg/resvg-js'))
  if (missing.length > 0) throw missingPackages(png === undefined ? '--svg' : '--png', missing)
  return { ...(vega && { vega }), ...(vegaLite && { vegaLite }), ...(resvg && { resvg }) }
}

/** Draws an analysis into the files that were named. */
export async function drawFigures(tools: FigureTools, analysis: Analysis, { svg, png }: FigureFiles): Promise<void> {
  const { vega, vegaLite, resvg } = tools
  if (!vega || !vegaLite) return
  const spec = vegaLite.compile(analysisFigure(analysis) as never).spec
  const picture = await new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG()
  if (svg !== undefined) await writeFile(svg, picture)
  if (png === undefined || !resvg) return
  const options = { fitTo: { mode: 'zoom', value: ZOOM }, font: { loadSystemFonts: true } } as const
  // text without a font is left out, without an error
  if (!new resvg.Resvg(PROBE, options).getBBox())
    console.error(`No font is installed here: ${png} is drawn without text; --svg leaves text to what shows it`)
  await writeFile(png, new resvg.Resvg(picture, options).render().asPng())
}

function missingPackages(option: string, names: readonly string[]): UsageError {
  const packages = names.length === 1 ? `the package ${names[0]}` : `the packages ${names.join(', ')}`
  return new UsageError(`millrace analyze: ${option} needs ${packages}: npm install ${names.join(' ')}`)
}
