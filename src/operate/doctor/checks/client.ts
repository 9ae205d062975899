import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import { errorResult, warningResult } from '../finding.ts'

/** Handlers must get what was published: a client that parses values, or merges fields, hands on something else. */
export const clientBytesCheck = defineCheck({
  check: 'bytes',
  scope: 'server',
  needs: ['echo'],
  look({ echo: { spoiled } }) {
    if (spoiled.length === 0) return []
    return [
      errorResult(
        `The client changes what the server answers; not as they were sent: ${spoiled.slice(0, 5).map(quotedValue).join(', ')}`,
        'connect by connectIoredis(url) or connectUpstash({ url, token }), or make the client without automaticDeserialization, reply ' +
          'transformers and parsing middlewares',
      ),
    ]
  },
})

/** Who uses the same Redis without the prefix sees other streams. */
export const keyPrefixCheck = defineCheck({
  check: 'key-prefix',
  scope: 'server',
  needs: ['echo'],
  look({ echo: { key, keySeen } }) {
    if (keySeen === undefined || keySeen === key) return []
    return [
      warningResult(
        `The client sends key ${quotedValue(keySeen)} for ${quotedValue(key)}: publishers and tools without that prefix have another stream`,
        'leave keyPrefix out of the client, and put it into the name of the stream',
      ),
    ]
  },
})
