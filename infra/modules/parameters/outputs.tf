output "names" {
  description = "Names of all parameters."
  value       = concat([for p in aws_ssm_parameter.text : p.name], [for p in aws_ssm_parameter.list : p.name])
}
