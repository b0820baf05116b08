output "schedule_dlq_arn" {
  description = "ARN of the schedules' dead-letter queue."
  value       = aws_sqs_queue.schedules.arn
}

output "schedule_dlq_name" {
  description = "Name of the schedules' dead-letter queue."
  value       = aws_sqs_queue.schedules.name
}

output "topic_arns" {
  description = "Topics of alarms by urgency: page, ticket."
  value       = { for key, topic in aws_sns_topic.alarms : key => topic.arn }
}
