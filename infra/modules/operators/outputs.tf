output "instance_id" {
  description = "Id of the host: the target of sessions."
  value       = aws_instance.this.id
}
