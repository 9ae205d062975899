import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Metafile } from 'esbuild'
import { build } from 'esbuild'

const root = join(import.meta.dirname, '..')

/** What is bundled: a file, or a module's text with what more is left out of it. */
export type Source = { readonly file: string } | { readonly code: string; readonly external?: readonly string[] }

/**
 * Bundles a function as `infra/bundle.yml` has it done for deployment; what is no file of this repository, without its aliases.
 *
 * @returns The bundle's size in bytes, without its source map.
 */
export async function bundle(source: Source, outfile: string): Promise<number> {
  await made(source, outfile)
  return (await stat(outfile)).size
}

/** The bytes of each module of such a bundle, by its path in this repository. */
export async function bytesByModule(source: Source, outfile: string): Promise<ReadonlyMap<string, number>> {
  const { outputs } = await made(source, outfile)
  const { inputs = {} } = Object.values(outputs).find(({ entryPoint }) => entryPoint !== undefined) ?? {}
  return new Map(Object.entries(inputs).map(([path, { bytesInOutput }]) => [path, bytesInOutput]))
}

async function made(source: Source, outfile: string): Promise<Metafile> {
  const { target, external, banner, alias } = await deployedOptions()
  const { metafile } = await build({
    ...('file' in source
      ? { entryPoints: [join(root, source.file)], alias, absWorkingDir: root }
      : { stdin: { contents: source.code, resolveDir: root }, absWorkingDir: root }),
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    minify: true,
    sourcemap: true,
    sourcesContent: false,
    legalComments: 'none',
    target,
    external: [...external, ...(('external' in source && source.external) || [])],
    banner: { js: banner },
    logLevel: 'error',
    metafile: true,
  })
  return metafile
}

/** Those of the options that may change from one release to the next; the file is as flat as this reads it. */
async function deployedOptions(): Promise<{
  target: string
  external: string[]
  banner: string
  alias: Record<string, string>
}> {
  const yaml = await readFile(join(root, 'infra/bundle.yml'), 'utf8')
  const [, target] = /^target: (\S+)$/m.exec(yaml) ?? []
  const [, banner] = /^ {2}js: (.+)$/m.exec(yaml) ?? []
  if (!target || !banner) throw new Error('Cannot bundle: infra/bundle.yml must have a target and a banner')
  const aliases = yaml.matchAll(/^ {2}([\w-]+): (\.\S+)/gm)
  return {
    target,
    banner,
    alias: Object.fromEntries([...aliases].map(([, name = '', path = '']) => [name, path])),
    external: [...yaml.matchAll(/^ {2}- '?([^'\s]+)/gm)].map(([, name = '']) => name),
  }
}
