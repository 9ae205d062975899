import { existsSync } from 'node:fs'
import { mkdir, readFile, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { FunctionDefinition } from './definitions.ts'
import { readTemplate, type TemplateContents } from './template.ts'
import type { LocalStackIdentity, PackagedTemplate } from './template-resources.ts'
import { unzip } from './unzip.ts'

/** What Lambda's Node.js runtime brings, and bundles leave out. */
const IN_RUNTIME = ['@aws-sdk', '@smithy']

export interface UnpackServiceOptions {
  /** Gets the functions' code; has to be there. */
  readonly folder: string
  /** Where the AWS SDK is searched for, upwards, as Lambda's runtime has it without being asked. Default: the template's folder. */
  readonly project?: string
  /** Variables of every function, over those of the template. */
  readonly environment?: Readonly<Record<string, string>>
  readonly names?: Partial<LocalStackIdentity>
}

export interface UnpackedService extends Omit<TemplateContents, 'functions'> {
  readonly functions: readonly FunctionDefinition[]
}

/**
 * Unpacks a packaged service: a template as osls writes it, with the functions' zip files beside it.
 *
 * @throws {Error} A zip file is missing.
 */
export async function unpackService(templateFile: string, options: UnpackServiceOptions): Promise<UnpackedService> {
  const template = JSON.parse(await readFile(templateFile, 'utf8')) as PackagedTemplate
  const names = { region: 'us-east-1', accountId: '000000000000', stackName: 'local', ...options.names }
  const { functions, ...rest } = readTemplate(template, names)
  await linkRuntimeModules(options.project ?? dirname(templateFile), options.folder)
  const unpacked = functions.map(async ({ logicalId, zip, ...definition }) => {
    const codeFolder = join(options.folder, logicalId)
    const archive = join(dirname(templateFile), zip)
    if (!existsSync(archive))
      throw new Error(`Cannot unpack function ${definition.name}: there is no ${zip} beside the template`)
    await unzip(archive, codeFolder)
    return { ...definition, codeFolder, environment: { ...definition.environment, ...options.environment } }
  })
  return { ...rest, functions: await Promise.all(unpacked) }
}

/** ES modules search for packages in the folders above them, and nowhere else. */
async function linkRuntimeModules(project: string, folder: string): Promise<void> {
  await mkdir(join(folder, 'node_modules'), { recursive: true })
  for (const scope of IN_RUNTIME) {
    const found = findUpwards(join('node_modules', scope), project)
    const link = join(folder, 'node_modules', scope)
    if (found !== undefined && !existsSync(link)) await symlink(found, link)
  }
}

/** The path of what has this name in the folder or in the nearest one above it. */
export function findUpwards(name: string, folder: string): string | undefined {
  const path = join(folder, name)
  if (existsSync(path)) return path
  return dirname(folder) === folder ? undefined : findUpwards(name, dirname(folder))
}
