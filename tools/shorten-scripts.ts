/** A step of the build: shortens the Lua of the built scripts, half of which is indentation and names. Lines stay, for the source maps. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { shortenLua } from './shorten-lua.ts'

/** The template literals that hold Lua, a script's or what is put into scripts: each begins and ends with a line of its own. */
const LUA = /(?<=(lua: |= )`)(\n[^`]*\n)`/g

const folder = join(import.meta.dirname, '../dist/group/scripts')
const names = (await readdir(folder)).filter((name) => name.endsWith('.js'))
const files = await Promise.all(
  names.map(async (name) => ({ path: join(folder, name), code: await readFile(join(folder, name), 'utf8') })),
)
const pieces = files.flatMap(({ code }) =>
  [...code.matchAll(LUA)].map(([, before, lua = '']) => ({ code: lua, isScript: before === 'lua: ' })),
)
if (pieces.length === 0) throw new Error('Cannot shorten the scripts: no Lua found')

const shortened = shortenLua(pieces).values()
for (const { path, code } of files) {
  const lines = (piece: string) => '\n'.repeat(piece.split('\n').length - 1)
  const shorter = code.replace(LUA, (_, _before, lua: string) => `${shortened.next().value}\`${lines(lua)}`)
  await writeFile(path, shorter)
}
