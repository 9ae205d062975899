// What a world finds without a rule: node test/model/order/without.ts RULE|- FROM TO memory|redis [most]
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { MEMORY_FILES, RULES } from './rules.ts'

const [name = '-', from = '1', to = '2', where = 'memory'] = process.argv.slice(2)
const rule = RULES[name]
if (!rule && name !== '-') throw new Error(`there is no rule ${name}`)
type Edit = readonly [file: string | undefined, part: string, inItsPlace: string]
const inMemory = where === 'memory' ? rule?.memory?.map(([part, other]): Edit => [undefined, part, other]) : undefined
const left = new Set<Edit>(inMemory ?? rule?.edits)
registerHooks({
  load(url, context, next) {
    const isOf = (file: string) => url.endsWith(`/dist/${file}`)
    const own = [...left].filter(([file]) => (file === undefined ? MEMORY_FILES.some(isOf) : isOf(file)))
    if (own.length === 0) return next(url, context)
    let source = readFileSync(new URL(url), 'utf8')
    for (const edit of own) {
      const parts = source.split(edit[1])
      if (parts.length !== 2) continue
      source = parts.join(edit[2])
      left.delete(edit)
    }
    return { format: 'module', source, shortCircuit: true }
  },
})

const { playSeeds } = await import('./play.ts')
const found = await playSeeds({ from: Number(from), to: Number(to), where: where as 'memory' | 'redis', most: 1 })
if (left.size > 0) throw new Error(`${name}: not there, or not once: ${[...left].map(([, part]) => part)}`)
console.log(JSON.stringify(found.map(({ seed, violations }) => ({ seed, violation: violations[0] }))))
