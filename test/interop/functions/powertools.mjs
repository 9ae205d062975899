// As Powertools' documentation has it, for an SQS queue.
import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch'

const processor = new BatchProcessor(EventType.SQS)

async function recordHandler(record) {
  const { fails } = JSON.parse(record.body)
  if (fails) throw new Error('as it was told to')
}

export const handler = async (event, context) => processPartialResponse(event, recordHandler, processor, { context })
