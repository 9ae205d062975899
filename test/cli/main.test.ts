import { expect, test } from 'vitest'
import { millrace } from './millrace.ts'

test.each<[string, string[], number, RegExp]>([
  ['--help names the commands', ['--help'], 0, /^ {2}dev {4}runs a packaged service/],
  ['status --help names the options', ['status', '--help'], 0, /^ {2}--watch \[S\]/],
  ['tail --help names the options', ['tail', '--help'], 0, /^ {2}--from WHERE/],
  ['dev --help names the options', ['dev', '--help'], 0, /^ {2}--every SECONDS/],
  ['no command is wrong usage', [], 2, /^millrace COMMAND/],
  ['an unknown command is wrong usage', ['fly'], 2, /^millrace: no command "fly"$/],
  ['an unknown option is wrong usage', ['dev', '--fast'], 2, /^millrace dev: Unknown option '--fast'/],
  ['--every takes a number', ['dev', '--every', 'often'], 2, /--every must be a number of seconds, .* got "often"$/],
  ['--every takes more than 0', ['dev', '--every', '0'], 2, /--every must be a number of seconds/],
  ['--env takes KEY=VALUE', ['dev', '--env', 'REDIS_URL'], 2, /^millrace dev: --env must be KEY=VALUE$/],
  ['--redis takes a Redis URL', ['dev', '--redis', 'http://x'], 2, /--redis must be a redis:\/\/ or rediss:\/\/ URL$/],
])('%s', async (_title, args, code, line) => {
  const run = millrace(args)

  await run.printed(line)
  expect(await run.exit).toBe(code)
})
