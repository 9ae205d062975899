import { join, relative } from 'node:path'
import type { Node, SourceFile } from 'typescript/unstable/ast'
import { isFunctionLikeDeclaration } from 'typescript/unstable/ast/is'
import { API } from 'typescript/unstable/sync'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** Lines of code of a file, or of a function with the closures in it. */
interface Sized {
  readonly name: string
  readonly lines: number
}

interface Sizes {
  readonly files: readonly Sized[]
  readonly functions: readonly Sized[]
}

/** Neither empty nor a comment. */
const isCode = (line: string) => !/^\s*(\/\/|\/?\*|$)/.test(line)

const codeLines = (text: string) => text.split('\n').filter(isCode).length

function nameOf(node: Node): string {
  const named = node as Node & { readonly name?: Node; readonly parent: Node & { readonly name?: Node } }
  return (named.name ?? named.parent.name)?.getText() ?? ''
}

function functionsOf(file: SourceFile, path: string): Sized[] {
  const found: Sized[] = []
  const visit = (node: Node): undefined => {
    const hasBody = isFunctionLikeDeclaration(node) && 'body' in node && node.body
    if (hasBody) found.push({ name: `${path} ${nameOf(node)}`, lines: codeLines(node.getText()) })
    node.forEachChild(visit)
  }
  file.forEachChild(visit)
  return found
}

function measure(): Sizes {
  const api = new API()
  try {
    const snapshot = api.updateSnapshot({ openProjects: [join(ROOT, 'tsconfig.build.json')] })
    const program = snapshot.getProjects()[0]?.program
    const paths = (program?.getSourceFileNames() ?? []).filter((path) => path.startsWith(join(ROOT, 'src/')))
    const sources = paths.map((path) => {
      const file = program?.getSourceFile(path) as SourceFile
      const name = relative(ROOT, path)
      return { name, lines: codeLines(file.text), functions: functionsOf(file, name) }
    })
    return { files: sources, functions: sources.flatMap(({ functions }) => functions) }
  } finally {
    api.close()
  }
}

describe('src', () => {
  const { files, functions } = measure()
  const named = functions.filter(({ name }) => !name.endsWith(' '))

  it('is read as a whole', () => {
    expect(files.length).toBeGreaterThan(300)
    expect(named.length).toBeGreaterThan(1_500)
  })

  it('has no file of more than 250 lines of code', () => {
    expect(files.filter(({ lines }) => lines > 250).map(({ name, lines }) => `${name}: ${lines}`)).toEqual([])
  })

  it('has no function of more than 60 lines of code, closures included', () => {
    expect(functions.filter(({ lines }) => lines > 60).map(({ name, lines }) => `${name}: ${lines}`)).toEqual([])
  })

  it('has nine in ten named functions of at most 17 lines of code', () => {
    const lines = named.map((each) => each.lines).toSorted((a, b) => a - b)

    expect(lines[Math.floor(0.9 * (lines.length - 1))]).toBeLessThanOrEqual(17)
  })
})
