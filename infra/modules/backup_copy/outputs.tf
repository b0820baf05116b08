output "key_arn" {
  description = "Key of the copies."
  value       = aws_kms_key.copy.arn
}
