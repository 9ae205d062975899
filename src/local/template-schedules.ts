import { ratePeriodMs, type ScheduleDefinition } from './schedules.ts'
import type { ResourceProperties, TemplateResource } from './template-resources.ts'

interface FoundSchedule extends Omit<ScheduleDefinition, 'functionName'> {
  /** What it wakes. */
  readonly arn: unknown
}

/**
 * The schedules that wake functions: of EventBridge Scheduler, and rules with a schedule.
 *
 * @param skipped Gets a sentence for each schedule that is not run locally.
 */
export function readTemplateSchedules(
  resources: readonly TemplateResource[],
  namesByArn: ReadonlyMap<string, string>,
  skipped: string[],
): ScheduleDefinition[] {
  const schedules = []
  for (const { arn, ...schedule } of resources.flatMap(findSchedules)) {
    const functionName = namesByArn.get(arn as string)
    if (functionName !== undefined && isSupported(schedule.expression)) schedules.push({ ...schedule, functionName })
    else if (functionName !== undefined)
      skipped.push(`Schedule ${schedule.name} is not run locally: ${schedule.expression} is not a rate`)
  }
  return schedules
}

function findSchedules({ id, type, properties }: TemplateResource): FoundSchedule[] {
  const common = {
    name: `${properties.Name ?? id}`,
    expression: `${properties.ScheduleExpression}`,
    enabled: properties.State !== 'DISABLED',
  }
  if (type === 'AWS::Scheduler::Schedule') return [{ ...common, ...targetOf(properties.Target) }]
  if (type !== 'AWS::Events::Rule' || properties.ScheduleExpression === undefined) return []
  return ((properties.Targets ?? []) as unknown[]).map((target) => ({ ...common, ...targetOf(target) }))
}

function targetOf(target: unknown): Pick<FoundSchedule, 'arn' | 'input'> {
  const { Arn, Input } = (target ?? {}) as ResourceProperties
  return { arn: Arn, ...(typeof Input === 'string' && { input: Input }) }
}

function isSupported(expression: string): boolean {
  try {
    ratePeriodMs(expression)
    return true
  } catch {
    return false
  }
}
