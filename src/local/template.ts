import type { ScheduleDefinition } from './schedules.ts'
import { readTemplateFunctions, type TemplateFunction } from './template-functions.ts'
import { type LocalStackIdentity, type PackagedTemplate, resolveTemplate } from './template-resources.ts'
import { readTemplateSchedules } from './template-schedules.ts'
import { functionArn } from './variables.ts'

/** What a template says of functions, and of what wakes them. */
export interface TemplateContents {
  readonly functions: readonly TemplateFunction[]
  readonly schedules: readonly ScheduleDefinition[]
  /** What of it is not run locally, a sentence each. */
  readonly skipped: readonly string[]
}

/** Reads functions, EventInvokeConfigs and schedules. What depends on other resources, also in environment variables, is left out. */
export function readTemplate(template: PackagedTemplate, names: LocalStackIdentity): TemplateContents {
  const skipped: string[] = []
  const resources = resolveTemplate(template, names)
  const functions = readTemplateFunctions(resources, skipped)
  const namesByArn = new Map(functions.map(({ name }) => [functionArn(name, names), name]))
  return { functions, schedules: readTemplateSchedules(resources, namesByArn, skipped), skipped }
}
