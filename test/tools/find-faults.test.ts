import { describe, expect, test } from 'vitest'
import { findFaults } from '../../tools/prose/find-faults.ts'

// the words under test would be faults of this file: they are put together here
const BAD = ['me', 'nds'].join('')
const FAULT = `"${BAD}": say fix`
const title = (words: number) => `it('${Array.from({ length: words }, () => 'word').join(' ')}', () => {})`

describe('findFaults()', () => {
  test.each([
    ['a comment', 'test/a.ts', `const a = 1 // what ${BAD} it`, [`test/a.ts:1: ${FAULT}`]],
    ['a docstring past its first line', 'src/a.ts', `/**\n * Runs.\n * It ${BAD}.\n */`, [`src/a.ts:3: ${FAULT}`]],
    ['a text of the package', 'src/a.ts', `print('a thing ${BAD} another')`, [`src/a.ts:1: ${FAULT}`]],
    ['a page', 'docs/a.md', `# A\n\nIt ${BAD} all.\n`, [`docs/a.md:3: ${FAULT}`]],
    ['a page’s code', 'docs/a.md', `\`${BAD}\`\n\n\`\`\`sh\n${BAD}\n\`\`\`\n`, []],
    ['a name', 'src/a.ts', `const ${BAD} = 1`, []],
    ['a text of a test', 'test/a.ts', `print('a thing ${BAD} another')`, []],
    ['a title', 'test/a.ts', `it('${BAD} it', () => {})`, [`test/a.ts:1: "${BAD} it": ${FAULT}`]],
    [
      'words across two lines of a comment',
      'src/a.ts',
      '/**\n * Sent once a\n * call.\n */',
      ['src/a.ts:2: "once a call": say "per", as in "once per run"'],
    ],
    ['a time, which is no rate', 'src/a.ts', '// resolves once a call ends', []],
    ['what an escape keeps', 'src/a.ts', `// ${BAD} // prose-ok: quoted`, []],
    ['a title of 16 words', 'test/a.ts', title(16), []],
    ['a title of 17 words', 'test/a.ts', title(17), [expect.stringMatching(/: 17 words, at most 16$/)]],
    [
      'a title behind rows',
      'test/a.ts',
      `it.each([[')', 1]])${title(17).slice(2)}`,
      [expect.stringMatching(/17 words/)],
    ],
  ])('sees %s', (_what, file, source, faults) => {
    expect(findFaults(file, source)).toEqual(faults)
  })
})
