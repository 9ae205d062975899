import { RedisReplyError } from '../errors.ts'
import type { Call, Sender } from '../group/redis/sender.ts'
import type { Reply } from '../group/redis/transport.ts'

/** One thing that a server is asked. */
export interface Question<T> {
  readonly call: Call
  /** What an ACL calls the right to ask it. */
  readonly right: string
  read(reply: Reply): T
  /** What an error says, if it is an answer as well; `undefined`: it is a refusal. */
  answerOf?(error: RedisReplyError): T | undefined
}

/** What a server answered, or why it did not. */
export type Told<T> = { readonly value: T } | Refusal

export interface Refusal {
  readonly refusal: RedisReplyError
  /** The right that is missing for an answer. */
  readonly right: string
}

/** A question a fact. */
export type Questions<Facts> = { readonly [Name in keyof Facts]: Question<Facts[Name]> }

export type Answers<Facts> = { readonly [Name in keyof Facts]: Told<Facts[Name]> }

/** Calls, and where their replies go. */
export interface Asking {
  readonly calls: readonly Call[]
  take(replies: readonly Reply[]): void
}

/** A set of questions and its answers. */
export class Inquiry<Facts> implements Asking {
  readonly calls: readonly Call[]
  readonly #questions: readonly [name: string, question: Question<unknown>][]
  #answers: Partial<Answers<Facts>> = {}

  constructor(questions: Questions<Facts>) {
    this.#questions = Object.entries<Question<unknown>>(questions)
    this.calls = this.#questions.map(([, { call }]) => call)
  }

  get answers(): Answers<Facts> {
    return this.#answers as Answers<Facts>
  }

  take(replies: readonly Reply[]): void {
    const told = this.#questions.map(([name, question], at) => [name, tell(question, replies[at] ?? null)])
    this.#answers = Object.fromEntries(told) as Answers<Facts>
  }
}

/**
 * Asks everything in one write, and gives each of the askings its replies.
 *
 * @returns All replies.
 * @throws {RedisConnectionError} No reply came.
 */
export async function ask(sender: Sender, askings: readonly Asking[]): Promise<readonly Reply[]> {
  const replies = await sender.send(askings.flatMap((asking) => asking.calls))
  let at = 0
  for (const asking of askings) {
    asking.take(replies.slice(at, at + asking.calls.length))
    at += asking.calls.length
  }
  return replies
}

/** The answers to one set of questions, asked in one write. @throws {RedisConnectionError} No reply came. */
export async function answersTo<Facts>(sender: Sender, questions: Questions<Facts>): Promise<Answers<Facts>> {
  const inquiry = new Inquiry(questions)
  await ask(sender, [inquiry])
  return inquiry.answers
}

function tell<T>(question: Question<T>, reply: Reply): Told<T> {
  if (!(reply instanceof RedisReplyError)) return { value: question.read(reply) }
  const answer = question.answerOf?.(reply)
  return answer === undefined ? { refusal: reply, right: question.right } : { value: answer }
}
