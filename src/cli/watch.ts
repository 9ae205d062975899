import { type FSWatcher, statSync, watch } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join, sep } from 'node:path'

const DEBOUNCE_MS = 200
/** What tools write and nobody edits. */
const IGNORED = new Set(['.build', '.esbuild', '.git', '.osls', '.serverless', 'cdk.out', 'coverage', 'node_modules'])
/** Editors' own files. */
const SCRATCH = /~$|\.sw[a-z]$|^\.#|^4913$|\.log$/

/**
 * Calls back, a moment after the last one, when sources in the folder change. Watches the folders in it one by one, since a recursive watch
 * of the whole would hold a handle on everything that is installed.
 *
 * @returns Ends it.
 */
export async function watchSources(folder: string, onChange: () => void): Promise<() => void> {
  const watchers = new Map<string, FSWatcher>()
  let timer: NodeJS.Timeout | undefined
  const changed = () => {
    clearTimeout(timer)
    timer = setTimeout(onChange, DEBOUNCE_MS)
  }
  const add = (name: string) => {
    if (watchers.has(name) || isIgnoredPath(name) || !isFolder(join(folder, name))) return
    const watcher = watch(join(folder, name), { recursive: true }, (_event, path) => {
      if (path === null || !isIgnoredPath(path)) changed()
    })
    watcher.on('error', () => watcher.close())
    watchers.set(name, watcher)
  }
  const root = watch(folder, (_event, name) => {
    if (name === null || isIgnoredPath(name)) return
    add(name)
    changed()
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

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
