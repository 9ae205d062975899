/** A word, or words in a row, that a stranger has to read twice, and what to say instead. */
export interface WordRow {
  /** A regular expression without regard to case; a space stands for any white space. */
  readonly pattern: string
  readonly instead: string
}

const UNIT =
  'run|call|batch|read|page|letter|command|consumer|file|test|line|row|process|request|delivery|server|group|stream|type|slot|entry|event|connection|key|invocation|client|kind|failure|node|round|script|field|value|poller|publisher|attempt|tick|route|commit|record'

const COUNTED =
  'once|twice|times|one|entries|events|commands|requests|retries|bytes|values|deliveries|trips|milliseconds|rights|arguments|(?:one|a|1) (?:line|stream|change|script|error|method|process|answer|reply|name|lease)|(?<![.\\d])\\d[\\d,]*(?: (?:pending |more )?(?:(?!is|has)\\w+s|s|KB|MB))?'

/** What may follow a unit: `once a call.` is a rate, `once a call ends` is a time. */
const AFTER = '(?=\\s*(?:[.,;:)|]|$|\\*\\/)| (?:and|at most|each|when|through|by)\\b)'

export const WORD_ROWS: readonly WordRow[] = [
  { pattern: `\\b(?:${COUNTED}) an? (?:${UNIT})\\b${AFTER}`, instead: '"per", as in "once per run"' },
  { pattern: '\\bmend(?:s|ed|ing)?\\b', instead: 'fix' },
  {
    pattern: '\\b(?:heal|heals|healed|heeds?|heeded|whence|thereof|hence)\\b',
    instead: 'recreate, obey, apply, from where',
  },
  { pattern: '\\b(?:bury|buries|buried|burial)\\b', instead: 'set aside as a dead letter' },
  { pattern: '\\bin vain\\b', instead: 'what it found or changed: "an empty read", "for nothing"' },
  { pattern: '\\bsuspicions?\\b', instead: 'suspect, or what it may have done' },
  {
    pattern: '\\b(?:tells?|told|telling)\\b(?!(?: \\w+){0,7} apart\\b)(?! the story)',
    instead: 'notify, report, call, say, show',
  },
  { pattern: '\\blook(?:s|ed|ing)? at\\b', instead: 'inspect, check, read' },
  { pattern: '\\blook(?:s|ed|ing)? for\\b', instead: 'search' },
  { pattern: '\\bis to be \\w+ed\\b', instead: 'who does it: "the run settles it"' },
  { pattern: '\\b(?:should not|cannot) \\w+ (?:no|nothing|none|never)\\b', instead: 'one negative' },
  {
    pattern:
      '\\b(?:for|of|by|to|in|over) (?:that|this|these|those|the|its|their|one) (?:\\w+ )?alone\\b|\\b(?:one|database 0|warnings|itself) alone\\b',
    instead: 'only',
  },
  { pattern: '\\b(?:unacked|in-flight|in flight)\\b', instead: 'pending' },
  { pattern: '\\b(?:reclaim|steal)(?:s|ed|ing)?\\b', instead: 'claim' },
  { pattern: '\\brequeue[sd]?\\b', instead: 'redrive, release or park' },
  { pattern: '\\bpoison (?:messages?|pills?)\\b', instead: 'dead letter' },
  { pattern: '\\b(?:partition key|message group|lane key)s?\\b', instead: 'ordering key' },
]
