import type { QuestionsByName, ServerQuestion } from '../ask.ts'
import { type KeepingTexts, keepingQuestions } from '../inspect/keeping.ts'

type Texts = Readonly<Record<string, string>>

/** What the doctor asks of a stream's registry and its janitors; `undefined` where the server does not say: it is reported only where they are used. */
export interface KeepingFacts {
  readonly registry: Texts | undefined
  readonly janitorNotes: Texts | undefined
}

export function keepingFactQuestions(stream: string): QuestionsByName<KeepingFacts> | object {
  const questions: QuestionsByName<KeepingTexts> | undefined = keepingQuestions(stream)
  return questions ? { registry: ifTold(questions.registry), janitorNotes: ifTold(questions.janitorNotes) } : {}
}

function ifTold(question: ServerQuestion<Texts>): ServerQuestion<Texts> {
  return { ...question, answerOf: (error) => (error.is('NOPERM') || error.is('WRONGTYPE') ? {} : undefined) }
}
