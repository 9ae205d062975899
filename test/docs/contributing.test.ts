import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const contributing = readFileSync(new URL('../../CONTRIBUTING.md', import.meta.url), 'utf8')

// the files themselves are compiled and run with all others
it.each(['test/policies/example/at-most-per-run.ts', 'test/policies/example/at-most-per-run.test.ts'])(
  'CONTRIBUTING shows %s as it is',
  (path) => {
    const [, shown] = contributing.match(new RegExp(`\`${path}\`\n\n\`\`\`ts\n([^]*?)\`\`\``)) ?? []

    expect(shown).toBe(readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8'))
  },
)
