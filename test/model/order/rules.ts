/** A rule of how order is kept, and what the code is without it. */
export interface Rule {
  readonly what: string
  readonly edits: readonly (readonly [file: string, part: string, inItsPlace: string])[]
  /** The same in memory. */
  readonly memory?: readonly (readonly [part: string, inItsPlace: string])[]
  /** Up to which seed a world without it has found something. */
  readonly seeds?: { readonly memory?: number; readonly redis?: number }
  /** The test beside the model that finds it. */
  readonly test?: string
}

/** What keeps order in memory. */
export const MEMORY_FILES = ['memory-lanes', 'memory-ordered-base', 'memory-ordered-group'].map(
  (file) => `group/memory/${file}.js`,
)

const READ = 'group/redis/order/read-in-order.js'
const SETTLE = 'group/redis/order/settle-in-order.js'
const CLAIM = 'group/redis/order/claim-in-order.js'
const LANES = 'group/redis/order/lanes.js'
const PLACE = 'group/redis/order/place-entries.js'
const READS = 'group/redis/order/ordered-reads.js'
const GROUP = 'group/redis/order/ordered-redis-group.js'
const MEMORY_GROUP = 'group/memory/memory-ordered-group.js'
const RUN = 'policies/order/run-order.js'

/**
 * What is not here nobody can see alone, since another rule does the same: claimers give way also with suspects, and take of these only firsts; who makes a group again drops what it holds, whose lease has ended; what was redriven
 * differs in number from the members of lanes; sweeps find what an acknowledgement with effects has left in a lane; healing comes before what makes single members pending again; a run knows what it has left undone.
 */
export const RULES: Readonly<Record<string, Rule>> = {
  readFenced: {
    what: 'a read needs the lease',
    edits: [[READ, "if token == '' or not ours then", 'if false then']],
    memory: [["if (slot.token === '' || !this.#base.isLeased(slot))", 'if (false)']],
    test: 'reads nothing under a slot that went to another',
  },
  firstReadPlaces: {
    what: 'before its first read a run makes lanes of the rest',
    edits: [[READ, 'if isFirst and (ofPollers', 'if false and (ofPollers']],
    memory: [['if (isFirst) {', 'if (isFirst) this.#begun.add(slot.token);\n        if (false) {']],
    seeds: { memory: 300, redis: 100 },
    test: 'gives claimers the first of each key of what a dead poller held, as suspects',
  },
  loosePlaced: {
    what: 'what runs without order gave back gets its lane again',
    edits: [[PLACE, 'and not isBehind(lane, id) then place', 'and false then place']],
    test: 'handles all of a lane in order of which runs without it gave something back',
  },
  unheardFirst: {
    what: 'what a read brought that nobody heard of comes first',
    edits: [[READ, 'if #entries > 0 then', 'if false then']],
    test: 'what a read brought that its client sent again comes before what the second brought',
  },
  readInspected: {
    what: 'what was read under the name comes before what is read then',
    edits: [[READS, 'if (first?.id === id', 'if (true']],
    test: 'what somebody else reads under the name of the slot comes in its place',
  },
  ackFenced: {
    what: 'an acknowledgement needs the lease',
    edits: [
      [
        SETTLE,
        "  if op == 'left' then",
        "  if op == 'ack' then out[n] = redis.call('XACK', stream, group, id) leave(id)\n  elseif op == 'left' then",
      ],
    ],
    test: 'takes no acknowledgement of a slot that went to another',
  },
  handsOn: {
    what: 'the next of a lane takes the place of the first as it is settled',
    edits: [
      [
        SETTLE,
        "  beside('ZREM', due, id)\\n  leave(id)\\n  return status",
        "  beside('ZREM', due, id)\\n  return status",
      ],
    ],
    memory: [
      ['const was = super.drop(group, id);\n        this.leave(group, id);', 'const was = super.drop(group, id);'],
    ],
    seeds: { memory: 50 },
    test: 'hands a lane to the next member in the step that settles the first',
  },
  conditionInLane: {
    what: 'what waits for a condition holds its key',
    edits: [
      [
        SETTLE,
        "'else isHere = putInLane(id, count, waiting, 0, member(condition, id, count), laneFor[id]) end'",
        "'else isHere = aside(id, count, waiting, 0, member(condition, id, count)) end'",
      ],
    ],
    seeds: { redis: 150 },
    test: 'holds its key while its first waits for a condition',
  },
  onlyFirst: {
    what: 'only the first of a lane is taken',
    edits: [[CLAIM, 'elseif not kept and first ~= id then kept = lane end', 'end']],
    memory: [['const isFirst = this.lanes.firsts.get(lane) === id;\n        if', 'const isFirst = true;\n        if']],
    seeds: { memory: 200 },
  },
  unplacedWaits: {
    what: 'what has no lane is not taken',
    edits: [
      [
        CLAIM,
        'local kept = not lane and ',
        "if not lane then lane = 'none' beside('HSET', lanes, lane, id) end\n  local kept = not lane and ",
      ],
    ],
    memory: [
      [
        'this.wait(UNPLACED_CONDITION, id, group.pending.get(id)?.deliveryCount ?? 0);\n            return false;',
        'return true;',
      ],
    ],
    seeds: { memory: 1500 },
    test: 'has what was redriven go before all that is undone',
  },
  claimsOnlyFirsts: {
    what: 'claimers keep off what lies under the name of a poller, and claim only firsts of lanes',
    edits: [
      [CLAIM, ' and c[1]:sub(1, ', ' and c[1]:sub(1, 0 * '],
      [CLAIM, '      rows = firsts`', '`'],
    ],
    memory: [
      [
        'if (owner.startsWith(POLLER_NAMES) || lane === undefined || this.lanes.firsts.get(lane) !== id)',
        'if (lane === undefined) return true;\n        if (false)',
      ],
    ],
    seeds: { memory: 600 },
    test: 'has claimers keep off what lies under the name of a poller',
  },
  claimGivesWay: {
    what: 'a first whose claimer died gives way to a lower one',
    edits: [[CLAIM, '== p[1] and not givesWay(p[1], saturated(p[4]), lane) then', '== p[1] then']],
    memory: [['return !this.givesWay(id, lane);', 'return true;']],
    test: 'gives way to what was redriven once its claimer has died',
  },
  trimmedLeaves: {
    what: 'what was trimmed leaves its lane when it is taken',
    edits: [[CLAIM, "XACK', stream, group, id)\\n  leave(id)\\n  lost", "XACK', stream, group, id)\\n  lost"]],
    test: 'goes on when its first is gone',
  },
  endsWhenRecreated: {
    what: 'a group that is made again ends all leases',
    edits: [[CLAIM, "redis.pcall('GETDEL', KEYS[n])", '']],
    memory: [['this.server.leases.delete(this.address.keys.slot(name));', ';']],
    test: 'ends all leases when it is made again, and gives the run that does so nothing',
  },
  yieldsUnlessUnderWay: {
    what: 'a first under way does not yield',
    edits: [
      [LANES, 'then return false end\n  local count, at', 'and false then return false end\n  local count, at'],
      [LANES, "~= 1 then return false end\n  beside('ZADD'", "~= 1 then end\n  beside('ZADD'"],
    ],
    test: 'does not let what is under way give way to what is lower',
  },
  livingLeftAlone: {
    what: 'what a living run holds is left to it',
    edits: [[PLACE, 'elseif p and isAlive(p) then', 'elseif false then']],
    memory: [['|| !this.#isAlive(owner, deliveredAt))', '|| true)']],
    test: 'nothing is read while a run without order holds entries',
  },
  suspicionKept: {
    what: 'what a dead process held is a suspect',
    edits: [
      [PLACE, 'place(id, count, known or lane, not isOwn and count > 0)', 'place(id, count, known or lane, false)'],
    ],
    memory: [['this.#place(group, id, count, !isUnread && count > 0)', 'this.#place(group, id, count, false)']],
    test: 'gives claimers the first of each key of what a dead poller held, as suspects',
  },
  unreadGivenBack: {
    what: 'what a read brought that nobody heard of gets its delivery back',
    edits: [[PLACE, 'count = count - 1', '']],
    memory: [['deliveryCount - Number(isUnread)', 'deliveryCount']],
    test: 'gives a read that was not answered back to its lanes, at no delivery',
  },
  sweptMembers: {
    what: 'members that are pending no more are taken off',
    edits: [[GROUP, "await this.#sweep(slot, 'members');", '']],
    memory: [['if (!this.madePending(group, id))\n                this.drop(group, id);', '']],
    test: 'handles all of a lane in order of which runs without it gave something back',
  },
  oneAtATime: {
    what: 'of a key one job runs at a time',
    edits: [[RUN, 'if (first === job)', 'if (true)']],
    seeds: { memory: 50 },
  },
  heldGoesAlong: {
    what: 'what the run holds of a key goes into its lane with what stays undone',
    edits: [
      [RUN, 'return new Map(behind.map((one) => [one.id, WAIT_IN_LANE]))', 'return new Map()'],
      [RUN, 'if (key.isUndone(job.entryId))', 'if (false)'],
    ],
    seeds: { memory: 50 },
  },
  joins: {
    what: 'what is read of a key that has a lane joins it',
    edits: [[RUN, '(there.has(key.text) || key.hasUndone)', '(key.hasUndone)']],
    seeds: { memory: 50 },
  },
  waitsForUndone: {
    what: 'what is read behind what the run has not seen settled waits, too',
    edits: [
      [RUN, '(there.has(key.text) || key.hasUndone)', '(there.has(key.text))'],
      [RUN, 'if (key.isUndone(job.entryId))', 'if (false)'],
    ],
    seeds: { memory: 600 },
  },
  asksUndone: {
    what: 'the server says whether what the run has not seen settled is still under its name',
    edits: [[MEMORY_GROUP, ' || isUnderName)', ')']],
    seeds: { memory: 600 },
  },
  storedFirst: {
    what: 'what is acknowledged with effects is done once that is stored',
    edits: [[RUN, 'if (isStoredFirst(kind))', 'if (false)']],
    seeds: { memory: 1500 },
  },
  unreadableIsMalformed: {
    what: 'a key that cannot be read makes a dead letter',
    edits: [[RUN, 'if (error)\n', 'if (false)\n']],
    seeds: { memory: 300 },
  },
  lowerFirst: {
    what: 'what is lower goes before the first of its lane, unless that is under way',
    edits: [
      [LANES, 'first ~= id and less(id, first) and yields(first, lane)', 'false'],
      [CLAIM, 'if not kept and comesBefore(lane, id) then', 'if false then'],
    ],
    memory: [['if (isFirst && !isSuspect && !this.comesBefore(group, lane, id))', 'if (isFirst && !isSuspect)']],
    seeds: { memory: 600 },
    test: 'begins with what is lower, though that is set aside later',
  },
}
