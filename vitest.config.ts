import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

/** Tests that start servers and child processes need more than vitest's own 5 s on a busy machine. */
const PATIENCE_MS = 30_000

/** `npm test`: what needs less than a few seconds a file; `npm run test:slow`: the rest of `npm run test:full`. Named files are run whatever their tier. */
const isFast = process.env.MILLRACE_TIER === 'fast'
const isSlow = process.env.MILLRACE_TIER === 'slow'
/** Files of both tiers, which draw more cases in the slow one. */
const DEEPER = ['test/model/*.test.ts', 'test/group/differential.test.ts', 'test/effects/fuzz.test.ts']
const isNamed = process.argv.slice(2).some((argument) => argument.startsWith('test/'))
const isNarrow = isFast && !isNamed

export default defineConfig({
  test: {
    include: isSlow ? ['test/**/*.full.test.ts', ...DEEPER] : ['test/**/*.test.ts'],
    exclude: isNarrow ? ['**/*.full.test.ts'] : [],
    // a process for each file takes as long as most of these files
    isolate: !isNarrow,
    pool: 'forks',
    // tests wait for servers and clocks more than they compute, so that two cores serve three files
    maxWorkers: Math.max(3, availableParallelism() - 1),
    globalSetup: 'test/support/setup.ts',
    setupFiles: ['test/support/fresh.ts', 'test/support/balance.ts', 'test/support/seed.ts'],
    reporters: ['default', './test/support/summary-reporter.ts'],
    // deadlines of milliseconds are missed on a busy machine; the summary names what needed it. A counterexample counts at once.
    retry: { count: 1, condition: /^(?!Property failed)/ },
    testTimeout: PATIENCE_MS,
    hookTimeout: PATIENCE_MS,
    teardownTimeout: 10_000,
  },
})
