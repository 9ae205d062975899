import { quoted } from '../../../errors.ts'
import { check } from '../check.ts'
import { error, warning } from '../finding.ts'

/** Handlers must get what was published: a client that parses values, or merges fields, hands on something else. */
export const bytes = check({
  check: 'bytes',
  scope: 'server',
  needs: ['echo'],
  look({ echo: { spoiled } }) {
    if (spoiled.length === 0) return []
    return [
      error(
        `The client changes what the server answers; not as they were sent: ${spoiled.slice(0, 5).map(quoted).join(', ')}`,
        'connect by connectIoredis(url) or connectUpstash({ url, token }), or make the client without automaticDeserialization, reply ' +
          'transformers and parsing middlewares',
      ),
    ]
  },
})

/** Who uses the same Redis without the prefix sees other streams. */
export const keyPrefix = check({
  check: 'key-prefix',
  scope: 'server',
  needs: ['echo'],
  look({ echo: { key, keySeen } }) {
    if (keySeen === undefined || keySeen === key) return []
    return [
      warning(
        `The client sends key ${quoted(keySeen)} for ${quoted(key)}: publishers and tools without that prefix have another stream`,
        'leave keyPrefix out of the client, and put it into the name of the stream',
      ),
    ]
  },
})
