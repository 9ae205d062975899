import type { SNSClient } from '@aws-sdk/client-sns'
import { alertsTopicArn } from './env.ts'

const SEND_TIMEOUT_MS = 5_000

// checked when the module loads: an alert is no time to find out
const TopicArn = alertsTopicArn()
let client: SNSClient | undefined

/**
 * Sends an alert to the shop's topic, within five seconds and in one try: a client that tries again by itself may send twice, since a topic knows no duplicates.
 * In a local run without a topic it is printed.
 */
export async function sendAlert(subject: string, alert: object): Promise<void> {
  if (TopicArn === undefined) return console.log(subject, alert)
  // loaded with the first alert, so that who has none to send does without it
  const { PublishCommand, SNSClient } = await import('@aws-sdk/client-sns')
  client ??= new SNSClient({ maxAttempts: 1 })
  const command = new PublishCommand({ TopicArn, Subject: subject, Message: JSON.stringify(alert) })
  await client.send(command, { abortSignal: AbortSignal.timeout(SEND_TIMEOUT_MS) })
}
