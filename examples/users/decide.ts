import type { Effects, EventOf, HandlerContext } from 'millrace'
import { createPublisher, effects } from 'millrace'
import type { ChangeEmail, DeactivateUser, RegisterUser, RenameUser, User } from './events.ts'
import { EmailChanged, EVENTS, UserDeactivated, UserRegistered, UserRenamed } from './events.ts'
import type { Outcome, Refusal } from './outcomes.ts'
import { OUTCOME_TTL_MS, outcomeKey } from './outcomes.ts'
import { client, redis } from './redis.ts'

/** A hash: a field for each address that somebody has. */
const ADDRESSES = '{users}:addresses'
const userKey = (userId: string) => `{users}:user:${userId}`

/** Kept whole: projections are made from it. */
const events = createPublisher({ stream: EVENTS, redis, producer: 'users', maxLength: Number.POSITIVE_INFINITY })

export async function registerUser({ eventId, payload }: EventOf<typeof RegisterUser>, context: HandlerContext) {
  const { userId, email, name } = payload
  const { user, isTaken } = await find(userId, email)
  if (user) return refuse(context, eventId, 'user-exists')
  if (isTaken) return refuse(context, eventId, 'email-taken')
  const registered = { userId, version: 1, email, name, active: true }
  take(store(context, eventId, registered), email).publish(events, UserRegistered, registered)
}

export async function changeEmail({ eventId, payload }: EventOf<typeof ChangeEmail>, context: HandlerContext) {
  const { userId, email } = payload
  const { user, isTaken } = await find(userId, email)
  if (!user?.active) return refuse(context, eventId, user ? 'deactivated' : 'unknown-user')
  if (email === user.email) return answer(context, eventId, { state: 'done', version: user.version })
  if (isTaken) return refuse(context, eventId, 'email-taken')
  const changed = { ...user, version: user.version + 1, email }
  take(store(context, eventId, changed), email)
    .deleteFields(ADDRESSES, user.email)
    .publish(events, EmailChanged, { ...changed, from: user.email })
}

export async function renameUser({ eventId, payload }: EventOf<typeof RenameUser>, context: HandlerContext) {
  const { user } = await find(payload.userId)
  if (!user?.active) return refuse(context, eventId, user ? 'deactivated' : 'unknown-user')
  const renamed = { ...user, version: user.version + 1, name: payload.name }
  store(context, eventId, renamed).publish(events, UserRenamed, renamed)
}

/** Whoever is deactivated keeps the address: nobody else gets a former user's mail. */
export async function deactivateUser({ eventId, payload }: EventOf<typeof DeactivateUser>, context: HandlerContext) {
  const { user } = await find(payload.userId)
  if (!user?.active) return refuse(context, eventId, user ? 'deactivated' : 'unknown-user')
  const deactivated = { ...user, version: user.version + 1, active: false }
  store(context, eventId, deactivated).publish(events, UserDeactivated, deactivated)
}

/** What a command is decided on. It may be old by the time of its effects, which then are refused: the command comes again, and is decided on what there is then. */
async function find(userId: string, email = ''): Promise<{ user: User | undefined; isTaken: boolean }> {
  const [fields, taken] = await Promise.all([
    client.hgetall(userKey(userId)),
    email && client.hexists(ADDRESSES, email),
  ])
  const { version, name = '', active } = fields
  const user = { userId, version: Number(version), email: fields.email ?? '', name, active: active === '1' }
  return { user: version === undefined ? undefined : user, isTaken: taken === 1 }
}

function store(context: HandlerContext, commandId: string, { userId, version, email, name, active }: User): Effects {
  const list = effects(context)
    .expectField(userKey(userId), 'version', version === 1 ? null : version - 1)
    .setFields(userKey(userId), { version, email, name, active: active ? 1 : 0 })
  answer(context, commandId, { state: 'done', version })
  return list
}

/** Takes an address that nobody has. */
function take(list: Effects, email: string): Effects {
  return list.expectField(ADDRESSES, email, null).setFields(ADDRESSES, { [email]: 1 })
}

function refuse(context: HandlerContext, commandId: string, reason: Refusal): void {
  answer(context, commandId, { state: 'refused', reason })
}

function answer(context: HandlerContext, commandId: string, outcome: Outcome): void {
  effects(context).set(outcomeKey(commandId), JSON.stringify(outcome), { ttlMs: OUTCOME_TTL_MS })
}
