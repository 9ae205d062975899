import type { PolicyKeyNeed } from '../../define/policy-needs.ts'
import { replyItems } from '../../group/redis/commands/reply.ts'
import type { LuaScript } from '../../group/redis/scripts/script.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { ServerQuestion } from '../ask.ts'

/** A command that a policy needs, and that whoever asks may not send. */
export interface MissingRight {
  readonly policy: string
  readonly key: string
  readonly command: string
}

/**
 * Asks which commands the user may not send; inspects no key, and changes nothing. Further keys stand in ARGV, since a script whose KEYS are denied is not
 * run at all; what a client puts before keys is found at the stream's.
 *
 * KEYS stream. ARGV the stream as we name it, then for each command its key, its name, and a subcommand ('' none). Answers the numbers of those that are
 * denied, from 1; -1 on servers before 7.0, which do not report.
 */
const rights: LuaScript = {
  keyCount: 1,
  lua: `
if not redis.acl_check_cmd then return -1 end
local prefix, denied = string.sub(KEYS[1], 1, #KEYS[1] - #ARGV[1]), {}
for n = 1, (#ARGV - 1) / 3 do
  local key, name, sub = unpack(ARGV, 3 * n - 1, 3 * n + 1)
  local command = sub == '' and {name, prefix .. key} or {name, sub, prefix .. key}
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  if not (known and allowed) then denied[#denied + 1] = n end
end
return denied
`,
}

/** Whoever may not claim is no claimer, and needs nothing of what only claimers do. */
const CLAIMING = 'xautoclaim'

export function missingRightsQuestion(
  stream: string,
  needs: readonly PolicyKeyNeed[],
): ServerQuestion<readonly MissingRight[] | undefined> {
  const asked = needs.flatMap(({ commands, ...need }) => commands.map((command) => ({ ...need, command })))
  const args = [...asked, { key: stream, command: CLAIMING }].flatMap(({ key, command }) => {
    const [name = '', sub = ''] = command.split('|')
    return [key, name, sub]
  })
  return {
    call: { script: rights, keys: [stream], args: [stream, ...args] },
    right: '+eval +evalsha',
    read: (reply: RedisReply) => {
      if (!Array.isArray(reply)) return undefined
      const denied = new Set(replyItems(reply).map(Number))
      const claims = !denied.has(asked.length + 1)
      return asked.filter(({ isOfClaimers }, n) => denied.has(n + 1) && (claims || !isOfClaimers))
    },
  }
}
