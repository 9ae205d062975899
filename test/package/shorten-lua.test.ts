import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { startRedisServer } from '../../tools/redis-server.ts'
import { shortenLua } from '../../tools/shorten-lua.ts'

const scripts = join(import.meta.dirname, '../../dist/group/scripts')
/** An interpolation of the TypeScript around the Lua. */
const FENCE = `\${FENCE}`

const shorten = (...pieces: string[]) => shortenLua(pieces.map((code) => ({ code, isScript: true })))

test('shortenLua() drops comments and blanks, and gives a local the same short name in every piece', () => {
  const pieces = [
    `\n-- who\nlocal stream = KEYS[1]\n${FENCE}\nreturn held(stream) .. ''\n`,
    '\nlocal function held(id) return stream == id end\n',
  ]

  expect(shorten(...pieces)).toEqual([`local a=KEYS[1]${FENCE} return b(a)..''`, 'local function b(c)return a==c end'])
})

test('shortenLua() has a script call by a local of its own, and so what is put into it', () => {
  const pieces = [
    { code: `\n${FENCE}\nlocal id = ids()\nreturn redis.call('ACK', id)\n`, isScript: true },
    { code: "\nlocal function ids() return redis.pcall(redis.call('IDS')) end\n", isScript: false },
    { code: `\n${FENCE}\nreturn ids()\n`, isScript: true },
    { code: '\nreturn KEYS[1]\n', isScript: true },
  ]

  expect(shortenLua(pieces)).toEqual([
    `local c=redis.call ${FENCE} local b=a()return c('ACK',b)`,
    "local function a()return redis.pcall(c('IDS'))end",
    `local c=redis.call ${FENCE} return a()`,
    'return KEYS[1]',
  ])
})

test('shortenLua() leaves texts, fields and undeclared names as they are', () => {
  const piece = "\nlocal max = 1\nfor i, p in ipairs(KEYS) do redis.pcall('SET', p, math.max(i, max), 'max') end\n"

  expect(shorten(piece)).toEqual(["local a=1 for b,c in ipairs(KEYS)do redis.pcall('SET',c,math.max(b,a),'max')end"])
})

test('shortenLua() keeps apart what would be read as one', () => {
  expect(shorten('\nlocal n = 1 - -1\nreturn 2 .. n\n')).toEqual(['local a=1- -1 return 2 ..a'])
})

test.each(['return "text"', 'return [[text]]', "return 'a\\n'", 'local id = 1 return { id = id }', 'local type = 1'])(
  'shortenLua() refuses %s',
  (piece) => {
    expect(() => shorten(piece)).toThrow('Cannot shorten Lua')
  },
)

test('every built script compiles on a server', async () => {
  const server = await startRedisServer()
  onTestFinished(() => server.stop())
  const redis = new Redis(server.url)
  const files = (await readdir(scripts)).filter((name) => name.endsWith('.js'))
  const modules: Record<string, unknown>[] = await Promise.all(files.map((name) => import(join(scripts, name))))
  const texts = modules.flatMap(Object.values).flatMap((member: { readonly lua?: string }) => member.lua ?? [])

  const digests = await Promise.all(texts.map((lua) => redis.script('LOAD', lua)))

  expect(digests.length).toBeGreaterThan(8)
  redis.disconnect()
})
