// What a world finds without a rule: node test/model/order/without.ts RULE|- FROM TO memory|redis [most]
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { MEMORY_FILES, RULES } from './rules.ts'

const [name = '-', from = '1', to = '2', where = 'memory'] = process.argv.slice(2)
const rule = RULES[name]
if (!rule && name !== '-') throw new Error(`there is no rule ${name}`)
const edits = (where === 'memory' && rule?.memory) || (rule?.edits ?? [])
const files = where === 'memory' && rule?.memory ? MEMORY_FILES : [rule?.file ?? '']
const left = new Set(edits)
registerHooks({
  load(url, context, next) {
    if (!rule || !files.some((file) => url.endsWith(`/dist/${file}`))) return next(url, context)
    let source = readFileSync(new URL(url), 'utf8')
    for (const edit of left) {
      const parts = source.split(edit[0])
      if (parts.length !== 2) continue
      source = parts.join(edit[1])
      left.delete(edit)
    }
    return { format: 'module', source, shortCircuit: true }
  },
})

const { playSeeds } = await import('./play.ts')
const found = await playSeeds({ from: Number(from), to: Number(to), where: where as 'memory' | 'redis', most: 1 })
if (left.size > 0) throw new Error(`${name}: not there, or not once: ${[...left].map(([part]) => part)}`)
console.log(JSON.stringify(found.map(({ seed, violations }) => ({ seed, violation: violations[0] }))))
