import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unzip } from '../../src/local/unzip.ts'
import type { PackagedService } from './osls.ts'
import { packageIn } from './osls.ts'

const root = join(import.meta.dirname, '../..')

/** What the packaging needs of the repository; its own working folders stay out of it. */
const COPIED = ['dist', 'functions', 'infra', 'package.json', 'package-lock.json', 'serverless.yml', 'tsconfig.json']

export interface PackagedFunctions extends PackagedService {
  /** A function's unpacked artefact, by the function's name. */
  readonly artefacts: Readonly<Record<string, Artefact>>
  remove(): Promise<void>
}

interface Artefact {
  readonly folder: string
  /** Paths in the artefact. */
  readonly files: readonly string[]
}

/**
 * Packages the functions as `npm run package` does, in a folder of its own.
 *
 * @param include A file whose line in serverless.yml is to be no comment any more.
 */
export async function packageFunctions(include?: string): Promise<PackagedFunctions> {
  const folder = await copyService()
  if (include !== undefined) await uncomment(join(folder, 'serverless.yml'), `- \${file(${include})}`)
  const packaged = await packageIn(folder)
  const artefact = async (name: string) => {
    const unpacked = join(folder, 'artefacts', name)
    return { folder: unpacked, files: await unzip(join(folder, `package/${name}.zip`), unpacked) }
  }
  const files = await readdir(join(folder, 'package'))
  const names = files.flatMap((file) => (file.endsWith('.zip') ? [file.slice(0, -'.zip'.length)] : []))
  return {
    ...packaged,
    artefacts: Object.fromEntries(await Promise.all(names.map(async (name) => [name, await artefact(name)] as const))),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

/** A copy of the service in a temporary folder, with the packages of the repository. */
export async function copyService(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-package-'))
  for (const name of COPIED) await cp(join(root, name), join(folder, name), { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

async function uncomment(file: string, line: string): Promise<void> {
  const yaml = await readFile(file, 'utf8')
  if (!yaml.includes(`# ${line}`)) throw new Error(`Nothing to uncomment: ${line}`)
  await writeFile(file, yaml.replace(`# ${line}`, line))
}
