import { RedisReplyError } from '../errors.ts'
import type { CallSender, RedisCall } from '../group/redis/sender.ts'
import type { RedisReply } from '../group/redis/transport.ts'

/** One thing that a server is asked. */
export interface ServerQuestion<T> {
  readonly call: RedisCall
  /** What an ACL calls the right to ask it. */
  readonly right: string
  read(reply: RedisReply): T
  /** What an error says, if it is an answer as well; `undefined`: it is a refusal. */
  answerOf?(error: RedisReplyError): T | undefined
}

/** What a server answered, or why it did not. */
export type AnswerOrRefusal<T> = { readonly value: T } | RefusedAnswer

export interface RefusedAnswer {
  readonly refusal: RedisReplyError
  /** The right that is missing for an answer. */
  readonly right: string
}

/** A question a fact. */
export type QuestionsByName<Facts> = { readonly [Name in keyof Facts]: ServerQuestion<Facts[Name]> }

export type AnswersByName<Facts> = { readonly [Name in keyof Facts]: AnswerOrRefusal<Facts[Name]> }

/** Calls, and where their replies go. */
export interface CallsWithReceiver {
  readonly calls: readonly RedisCall[]
  take(replies: readonly RedisReply[]): void
}

/** A set of questions and its answers. */
export class QuestionSet<Facts> implements CallsWithReceiver {
  readonly calls: readonly RedisCall[]
  readonly #questions: readonly [name: string, question: ServerQuestion<unknown>][]
  #answers: Partial<AnswersByName<Facts>> = {}

  constructor(questions: QuestionsByName<Facts>) {
    this.#questions = Object.entries<ServerQuestion<unknown>>(questions)
    this.calls = this.#questions.map(([, { call }]) => call)
  }

  get answers(): AnswersByName<Facts> {
    return this.#answers as AnswersByName<Facts>
  }

  take(replies: readonly RedisReply[]): void {
    const told = this.#questions.map(([name, question], at) => [name, tell(question, replies[at] ?? null)])
    this.#answers = Object.fromEntries(told) as AnswersByName<Facts>
  }
}

/**
 * Asks everything in one write, and gives each of the askings its replies.
 *
 * @returns All replies.
 * @throws {RedisConnectionError} No reply came.
 */
export async function askServer(
  sender: CallSender,
  askings: readonly CallsWithReceiver[],
): Promise<readonly RedisReply[]> {
  const replies = await sender.send(askings.flatMap((asking) => asking.calls))
  let at = 0
  for (const asking of askings) {
    asking.take(replies.slice(at, at + asking.calls.length))
    at += asking.calls.length
  }
  return replies
}

/** The answers to one set of questions, asked in one write. @throws {RedisConnectionError} No reply came. */
export async function askQuestions<Facts>(
  sender: CallSender,
  questions: QuestionsByName<Facts>,
): Promise<AnswersByName<Facts>> {
  const inquiry = new QuestionSet(questions)
  await askServer(sender, [inquiry])
  return inquiry.answers
}

function tell<T>(question: ServerQuestion<T>, reply: RedisReply): AnswerOrRefusal<T> {
  if (!(reply instanceof RedisReplyError)) return { value: question.read(reply) }
  const answer = question.answerOf?.(reply)
  return answer === undefined ? { refusal: reply, right: question.right } : { value: answer }
}
