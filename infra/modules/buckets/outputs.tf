output "names" {
  description = "Names of the buckets: plugins, failed, archive, logs."
  value       = { for key, bucket in aws_s3_bucket.this : key => bucket.id }
}

output "arns" {
  description = "ARNs of the buckets: plugins, failed, archive, logs."
  value       = { for key, bucket in aws_s3_bucket.this : key => bucket.arn }
}
