import { type FSWatcher, fstatSync, type Stats, statSync, watch } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join, sep } from 'node:path'

const DEBOUNCE_MS = 200
/** What tools write and nobody edits. */
const IGNORED = new Set(['.build', '.esbuild', '.git', '.osls', '.serverless', 'cdk.out', 'coverage', 'node_modules'])
/** Editors' own files. */
const SCRATCH = /~$|\.sw[a-z]$|^\.#|^4913$|\.log$/

/**
 * Calls back, a moment after the last one, when sources in the folder change. Watches the folders in it one by one, since a recursive watch
 * of the whole would hold a handle on everything that is installed. A file that this program's own output goes to is no source: each
 * line of it would be a change, and the next one would follow.
 *
 * @param onChange Gets the path of the last change within the folder.
 * @returns Ends it.
 */
export async function watchSources(folder: string, onChange: (path: string) => void): Promise<() => void> {
  const watchers = new Map<string, FSWatcher>()
  let timer: NodeJS.Timeout | undefined
  const outputs = openOutputs()
  const changed = (path: string) => {
    if (isIgnoredPath(path) || isOneOf(outputs, join(folder, path))) return
    clearTimeout(timer)
    timer = setTimeout(() => onChange(path), DEBOUNCE_MS)
  }
  const add = (name: string) => {
    if (watchers.has(name) || isIgnoredPath(name) || !isFolder(join(folder, name))) return
    const watcher = watch(join(folder, name), { recursive: true }, (_event, path) => {
      changed(join(name, path ?? ''))
    })
    watcher.on('error', () => watcher.close())
    watchers.set(name, watcher)
  }
  const root = watch(folder, (_event, name) => {
    if (name === null) return
    add(name)
    changed(name)
  })
  watchers.set('', root)
  for (const name of await readdir(folder)) add(name)
  return () => {
    clearTimeout(timer)
    for (const watcher of watchers.values()) watcher.close()
  }
}

/** @param path Relative to what is watched. */
export function isIgnoredPath(path: string): boolean {
  return path.split(sep).some((part) => IGNORED.has(part)) || SCRATCH.test(basename(path))
}

/** The files that standard output and standard error go to, where they are files. */
function openOutputs(): readonly Stats[] {
  return [1, 2].flatMap((descriptor) => {
    try {
      const stats = fstatSync(descriptor)
      return stats.isFile() ? [stats] : []
    } catch {
      return [] // it is closed
    }
  })
}

function isOneOf(files: readonly Stats[], path: string): boolean {
  return files.some(({ dev, ino }) => {
    const stats = statSync(path, { throwIfNoEntry: false })
    return dev === stats?.dev && ino === stats.ino
  })
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
