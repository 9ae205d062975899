import type { ScheduleDefinition } from './schedules.ts'
import { readFunctions, type TemplateFunction } from './template-functions.ts'
import { resolveResources, type StackNames, type Template } from './template-resources.ts'
import { readSchedules } from './template-schedules.ts'
import { functionArn } from './variables.ts'

/** What a template says of functions, and of what wakes them. */
export interface TemplateContents {
  readonly functions: readonly TemplateFunction[]
  readonly schedules: readonly ScheduleDefinition[]
  /** What of it is not run locally, a sentence each. */
  readonly skipped: readonly string[]
}

/** Reads functions, EventInvokeConfigs and schedules. What depends on other resources, also in environment variables, is left out. */
export function readTemplate(template: Template, names: StackNames): TemplateContents {
  const skipped: string[] = []
  const resources = resolveResources(template, names)
  const functions = readFunctions(resources, skipped)
  const namesByArn = new Map(functions.map(({ name }) => [functionArn(name, names), name]))
  return { functions, schedules: readSchedules(resources, namesByArn, skipped), skipped }
}
