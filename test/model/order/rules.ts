/** A rule of how order is kept, and what the code is without it. */
export interface Rule {
  readonly what: string
  /** Of `dist`. */
  readonly file: string
  readonly edits: readonly Edit[]
  /** Where it shows: in worlds on Redis, or also in memory, which is faster. */
  readonly shows: 'memory' | 'redis'
  /** The same in memory. */
  readonly memory?: readonly Edit[]
}

type Edit = readonly [part: string, inItsPlace: string]

const READ = 'group/redis/order/read-in-order.js'
const SETTLE = 'group/redis/order/settle-in-order.js'
const CLAIM = 'group/redis/order/claim-in-order.js'
const LANES = 'group/redis/order/lanes.js'
const PLACE = 'group/redis/order/place-entries.js'
const GROUP = 'group/redis/order/ordered-redis-group.js'
const CALLS = 'group/redis/order/ordered-calls.js'
/** What keeps order in memory. */
export const MEMORY_FILES = ['group/memory/memory-ordered-base.js', 'group/memory/memory-ordered-group.js']
const MEMORY = 'group/memory/memory-ordered-group.js'
const RUN = 'policies/order/run-order.js'

export const RULES: Readonly<Record<string, Rule>> = {
  readFenced: {
    what: 'a read needs the lease',
    file: READ,
    edits: [["if token == '' or not ours then", 'if false then']],
    shows: 'redis',
    memory: [["if (slot.token === '' || !this.#base.isLeased(slot))", 'if (false)']],
  },
  firstReadPlaces: {
    what: 'before its first read a run makes lanes of the rest',
    file: READ,
    edits: [["if isFirst == '1' and (ofPollers", 'if false and (ofPollers']],
    shows: 'redis',
    memory: [
      [
        'if (!this.#begun.has(slot.token)) {',
        'if (!this.#begun.has(slot.token)) this.#begun.add(slot.token);\n        if (false) {',
      ],
    ],
  },
  redrivenPlaced: {
    what: 'what was redriven gets its lane before the first read',
    file: READ,
    edits: [[' or unplaced()) then', ') then']],
    shows: 'redis',
  },
  loosePlaced: {
    what: 'what runs without order gave back gets its lane again',
    file: READ,
    edits: [[' or isLoose()', '']],
    shows: 'redis',
  },
  unheardFirst: {
    what: 'what a read brought that nobody heard of comes first',
    file: READ,
    edits: [['if #unheard > 0 then', 'if false then']],
    shows: 'redis',
  },
  ackFenced: {
    what: 'an acknowledgement needs the lease',
    file: SETTLE,
    edits: [
      [
        "  if op == 'left' then",
        "  if op == 'ack' then out[n] = redis.call('XACK', stream, group, id) leave(id)\n  elseif op == 'left' then",
      ],
    ],
    shows: 'redis',
  },
  handsOn: {
    what: 'the next of a lane takes the place of the first as it is settled',
    file: SETTLE,
    edits: [
      ["  beside('ZREM', due, id)\\n  leave(id)\\n  return status", "  beside('ZREM', due, id)\\n  return status"],
    ],
    shows: 'redis',
    memory: [
      ['const was = super.drop(group, id);\n        this.#leave(group, id);', 'const was = super.drop(group, id);'],
    ],
  },
  leftGoesOn: {
    what: 'the lane of what was acknowledged with effects goes on',
    file: SETTLE,
    edits: [['if not pendingEntry(id) then leave(id) end', '']],
    shows: 'redis',
  },
  conditionInLane: {
    what: 'what waits for a condition holds its key',
    file: SETTLE,
    edits: [
      [
        "'else isHere = putInLane(id, count, waiting, 0, member(condition, id, count), laneFor[id]) end'",
        "'else isHere = aside(id, count, waiting, 0, member(condition, id, count)) end'",
      ],
    ],
    shows: 'redis',
  },
  onlyFirst: {
    what: 'only the first of a lane is taken',
    file: CLAIM,
    edits: [["if not kept and beside('HGET', lanes, lane) ~= id then kept = lane end", '']],
    shows: 'redis',
    memory: [['const isFirst = this.lanes.firsts.get(lane) === id;\n        if', 'const isFirst = true;\n        if']],
  },
  unplacedWaits: {
    what: 'what has no lane is not taken',
    file: CLAIM,
    edits: [
      [
        'local kept = not lane and ',
        "if not lane then lane = 'none' beside('HSET', lanes, lane, id) end\n  local kept = not lane and ",
      ],
    ],
    shows: 'redis',
    memory: [
      [
        'this.#wait(UNPLACED_CONDITION, id, group.pending.get(id)?.deliveryCount ?? 0);\n            return false;',
        'return true;',
      ],
    ],
  },
  lowerTakenFirst: {
    what: 'a first that is due gives way to a lower one',
    file: CLAIM,
    edits: [['if before and less(first, id) then\n      redis', 'if false then\n      redis']],
    shows: 'redis',
    memory: [['(next === undefined || compareEntryIds(id, next) < 0)', 'true']],
  },
  // either alone would do, as what runs of claimers hold are firsts
  claimsOnlyFirsts: {
    what: 'claimers keep off what lies under the name of a poller, and claim only firsts of lanes',
    file: CLAIM,
    edits: [
      [' and c[1]:sub(1, ', ' and c[1]:sub(1, 0 * '],
      ['      rows = firsts`', '`'],
    ],
    shows: 'redis',
    memory: [
      [
        'if (owner.startsWith(POLLER_NAMES) || lane === undefined || this.lanes.firsts.get(lane) !== id)',
        'if (lane === undefined) return true;\n        if (false)',
      ],
    ],
  },
  claimGivesWay: {
    what: 'a first whose claimer died gives way to a lower one',
    file: CLAIM,
    edits: [['== p[1] and not givesWay(p[1], saturated(p[4]), lane) then', '== p[1] then']],
    shows: 'redis',
    memory: [['return !this.#givesWay(id, lane);', 'return true;']],
  },
  suspectGivesWay: {
    what: 'a suspect gives way to a lower one',
    file: CLAIM,
    edits: [['elseif givesWay(id, count, lane) then', 'elseif false then']],
    shows: 'redis',
    memory: [['if (this.#givesWay(id, member.lane))', 'if (false)']],
  },
  suspectsFirstOnly: {
    what: 'of suspects only the first of its lane is claimed',
    file: CLAIM,
    edits: [
      [
        "if beside('HGET', lanes, lane) ~= id then beside('ZADD', waiting, 0, member(lane, id, count))",
        'if false then',
      ],
    ],
    shows: 'redis',
    memory: [['if (this.lanes.firsts.get(member.lane) !== id)', 'if (false)']],
  },
  trimmedLeaves: {
    what: 'what was trimmed leaves its lane when it is taken',
    file: CLAIM,
    edits: [["XACK', stream, group, id)\\n  leave(id)\\n  lost", "XACK', stream, group, id)\\n  lost"]],
    shows: 'redis',
  },
  endsWhenRecreated: {
    what: 'a group that is made again ends all leases',
    file: CLAIM,
    edits: [["redis.pcall('GETDEL', KEYS[n])", '']],
    shows: 'redis',
    memory: [['this.server.leases.delete(this.address.keys.slot(name));', ';']],
  },
  recreatorEnds: {
    what: 'who makes a group again holds nothing of it',
    file: GROUP,
    edits: [['if (told.groupRecreated)', 'if (false)']],
    shows: 'redis',
    memory: [['if (groupRecreated)\n            return { ...nothing, groupRecreated };', '']],
  },
  lowerComesFirst: {
    what: 'a lower one takes the place of the first of its lane',
    file: LANES,
    edits: [['not (less(id, first) and yields(first, lane))', 'true']],
    shows: 'redis',
    memory: [['!(compareEntryIds(id, first) < 0 && this.#yields(group, first, lane)))', 'true)']],
  },
  lowerSetAsideBefore: {
    what: 'a first that is set aside goes behind a lower one',
    file: LANES,
    edits: [['if first == id then before, beforeId, beforeCount = firstBehind(lane) end', '']],
    shows: 'redis',
    memory: [
      [
        'const next = first === id ? this.#firstBehind(group, lane) : undefined;\n        const before',
        'const next = undefined;\n        const before',
      ],
    ],
  },
  yieldsUnlessUnderWay: {
    what: 'a first under way does not yield',
    file: LANES,
    edits: [
      ['then return false end\n  local count, at', 'and false then return false end\n  local count, at'],
      ["~= 1 then return false end\n  beside('ZADD'", "~= 1 then end\n  beside('ZADD'"],
    ],
    shows: 'redis',
  },
  restored: {
    what: 'members that a lost group has not made pending again are made so',
    file: LANES,
    edits: [['if not orderHealing or less(orderHealing, id) then return nil end', 'do return nil end']],
    shows: 'redis',
    memory: [['if (healing === undefined || compareEntryIds(id, healing) > 0 || !this.stream.get(id))', 'if (true)']],
  },
  placeBehindLower: {
    what: 'what gets its lane goes behind a lower one',
    file: LANES,
    edits: [
      [
        "    if before and less(beforeId, id) then\n      beside('ZREM', due, id)",
        "    if false then\n      beside('ZREM', due, id)",
      ],
    ],
    shows: 'redis',
    memory: [['if (this.#goesBehindLower(group, lane, id, count))', 'if (false)']],
  },
  livingLeftAlone: {
    what: 'what a living run holds is left to it',
    file: PLACE,
    edits: [['elseif p and isAlive(p) then', 'elseif false then']],
    shows: 'redis',
    memory: [['|| !this.#isAlive(owner, deliveredAt))', '|| true)']],
  },
  suspicionKept: {
    what: 'what a dead process held is a suspect',
    file: PLACE,
    edits: [['place(id, count, known or lane, not isOwn and count > 0)', 'place(id, count, known or lane, false)']],
    shows: 'redis',
    memory: [['this.#place(group, id, count, !isUnread && count > 0)', 'this.#place(group, id, count, false)']],
  },
  unreadGivenBack: {
    what: 'what a read brought that nobody heard of gets its delivery back',
    file: PLACE,
    edits: [['count = count - 1', '']],
    shows: 'redis',
    memory: [['deliveryCount - Number(isUnread)', 'deliveryCount']],
  },
  sweptMembers: {
    what: 'members that are pending no more are taken off',
    file: GROUP,
    edits: [["await this.#sweep(slot, 'members');", '']],
    shows: 'redis',
    memory: [['if (!this.#madePending(group, id))\n                this.drop(group, id);', '']],
  },
  sweptLanes: {
    what: 'lanes go on whose first is a member no more',
    file: GROUP,
    edits: [["await this.#sweep(slot, 'lanes');", '']],
    shows: 'redis',
  },
  knowsOfLanes: {
    what: 'what stays undone means that there are lanes',
    file: CALLS,
    edits: [['this.order.mayHaveLanes = true', '']],
    shows: 'redis',
  },
  oneAtATime: {
    what: 'of a key one job runs at a time',
    file: RUN,
    edits: [['return key !== undefined && key.jobs[0] !== job', 'return false']],
    shows: 'memory',
  },
  heldGoesAlong: {
    what: 'what the run holds of a key goes into its lane with what stays undone',
    file: RUN,
    edits: [['return new Map(key.jobs.map((one) => [one.id, WAIT_IN_LANE]))', 'return new Map()']],
    shows: 'memory',
  },
  joins: {
    what: 'what is read of a key that has a lane joins it',
    file: RUN,
    edits: [['(there.has(key.lane) || key.undone.size > 0)', '(key.undone.size > 0)']],
    shows: 'memory',
  },
  waitsForUndone: {
    what: 'what is read behind what the run has not seen settled waits, too',
    file: RUN,
    edits: [['(there.has(key.lane) || key.undone.size > 0)', '(there.has(key.lane))']],
    shows: 'memory',
  },
  asksUndone: {
    what: 'the server says whether what the run has not seen settled is still under its name',
    file: MEMORY,
    edits: [[' || isUnderName)', ')']],
    shows: 'memory',
  },
  storedFirst: {
    what: 'what is acknowledged with effects is done once that is stored',
    file: RUN,
    edits: [["if (outcome?.kind === 'ack-with')", 'if (false)']],
    shows: 'memory',
  },
  unreadableIsMalformed: {
    what: 'a key that cannot be read makes a dead letter',
    file: RUN,
    edits: [['        if (error) {', '        if (false) {']],
    shows: 'memory',
  },
}
